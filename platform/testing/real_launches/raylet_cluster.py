"""A Ray cluster of several raylets on this machine, in its own process."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from nmlab.platform.testing.real_launches.launched import kill_session, session, wait_until

_RAYLETS = Path(__file__).with_name("raylets.py")
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5" * 64, "RAY_USAGE_STATS_ENABLED": "0"}
"""The environment of every process of the cluster, and of those that may join it."""
PLACE = "large"
"""A resource that the head lacks; every other node has two of it."""
_BLIND = "blind"
_JOINED_SECONDS = 240.0
"""How long a node may take to join; a few seconds, minutes only where others use the machine."""


class Raylets:
    """A head, and nodes of one CPU that can be added; all ask for a token.

    Args:
        folder: for the text that Ray's processes print.
        variables: further environment variables of all processes of the cluster.
    """

    def __init__(self, folder: Path, **variables: str) -> None:
        self._folder, self._variables = folder, variables
        with (folder / "raylets.txt").open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, _RAYLETS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
                start_new_session=True,
                env=os.environ | TOKEN | variables,
            )
        self.raylets: dict[str, int] = {}
        """The processes of the nodes that were added and see every folder, by node id."""
        self.blind: dict[str, subprocess.Popen[bytes]] = {}
        """The leaders of the sessions of those that do not."""
        self.address: str = self._read()["address"]

    def add(self, **variables: str) -> str:
        """Add a node, whose processes have further environment variables; return its id."""
        node = self._do("add", {"resources": {PLACE: 2}, "env_vars": variables})
        self.raylets[node["node_id"]] = node["raylet"]
        return str(node["node_id"])

    def remove(self, node_id: str) -> None:
        self._do("remove", node_id)
        del self.raylets[node_id]

    def kill(self, node_id: str) -> None:
        """Kill a node's raylet, with which all that runs there ends."""
        self._do("kill", node_id)
        del self.raylets[node_id]

    def alive(self) -> dict[str, dict[str, float]]:
        """Return the resources of the nodes that are in the cluster, by id."""
        return self._do("alive", None)

    def add_blind(self, folder: Path) -> str:
        """Add a node of one CPU that does not see the contents of a folder; return its id once it has joined."""
        out = self._folder / f"blind-{len(self.blind)}.txt"
        started = _start_blind_node(self.address, folder, out=out, **TOKEN, **self._variables)

        def joined() -> str | None:
            assert started.poll() is None, f"the node ended before it joined: {out.read_text()}"
            nodes = [node for node, resources in self.alive().items() if _BLIND in resources]
            return next((node for node in nodes if node not in self.blind), None)

        try:
            node_id = wait_until(joined, seconds=_JOINED_SECONDS, what="the node to join")
        except BaseException:
            _end(started)
            raise
        assert node_id is not None
        self.blind[node_id] = started
        return node_id

    def kill_head(self) -> None:
        """Kill the cluster's own server (GCS), without which nothing new can be asked of it."""
        for pid, command in session(self.process.pid).items():
            if "gcs_server" in command.split(" ", 1)[0]:
                os.kill(pid, signal.SIGKILL)
                return
        raise AssertionError("the cluster has no server")

    def close(self) -> None:
        for node in self.blind.values():
            _end(node)
        _end(self.process)

    def _do(self, command: str, argument: object) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({command: argument}) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            if line.startswith("{"):
                return dict(json.loads(line))
        raise AssertionError("the raylets ended")


def can_hide_folders() -> bool:
    """Return whether a process of this machine may mount something over a folder, for itself alone."""
    tried = ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


def _start_blind_node(address: str, folder: Path, *, out: Path, **variables: str) -> subprocess.Popen[bytes]:
    """Start a node of one CPU that does not see the contents of a folder: its raylet has its own mount namespace."""
    ray = Path(sys.executable).with_name("ray")
    given = json.dumps({_BLIND: 1, PLACE: 2})
    start = f"{ray} start --address={address} --block --num-cpus 1 --object-store-memory 100000000"
    hide = f"mount -t tmpfs none '{folder}' && exec {start} --resources '{given}' --disable-usage-stats"
    with out.open("w") as text:
        return subprocess.Popen(
            ["unshare", "-Urm", "sh", "-c", hide],
            stdout=text,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | variables,
        )


def _end(leader: subprocess.Popen[Any]) -> None:
    kill_session(leader.pid)
    leader.wait()

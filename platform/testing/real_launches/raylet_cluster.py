"""A Ray cluster of several raylets on this machine, in its own process."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nmlab.platform.testing.real_launches.launched import kill_session, session

_RAYLETS = Path(__file__).with_name("raylets.py")
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5" * 64, "RAY_USAGE_STATS_ENABLED": "0"}
"""The environment of every process of the cluster, and of those that may join it."""
PLACE = "large"
"""A resource that the head lacks; every other node has two of it."""


class Raylets:
    """A head, and nodes of one CPU that can be added; all ask for a token."""

    def __init__(self, folder: Path) -> None:
        with (folder / "raylets.txt").open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, _RAYLETS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
                start_new_session=True,
                env=os.environ | TOKEN,
            )
        self.address: str = self._read()["address"]
        self.raylets: dict[str, int] = {}
        self.blind: subprocess.Popen[bytes] | None = None

    def add(self, **variables: str) -> str:
        """Add a node, whose processes have further environment variables; return its id."""
        node = self._do("add", {"resources": {PLACE: 2}, "env_vars": variables})
        self.raylets[node["node_id"]] = node["raylet"]
        return str(node["node_id"])

    def remove(self, node_id: str) -> None:
        self._do("remove", node_id)
        del self.raylets[node_id]

    def add_blind(self, folder: Path, out: Path) -> None:
        """Add a node of one CPU that does not see the contents of a folder."""
        self.blind = start_blind_node(self.address, folder, out=out, resources={PLACE: 2}, **TOKEN)

    def kill_head(self) -> None:
        """Kill the cluster's own server (GCS), without which nothing new can be asked of it."""
        for pid, command in session(self.process.pid).items():
            if "gcs_server" in command.split(" ", 1)[0]:
                os.kill(pid, signal.SIGKILL)
                return
        raise AssertionError("the cluster has no server")

    def close(self) -> None:
        if self.blind is not None:
            kill_session(self.blind.pid)
            self.blind.wait()
        kill_session(self.process.pid)
        self.process.wait()

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


def start_blind_node(
    address: str, folder: Path, *, out: Path, resources: Mapping[str, float] | None = None, **variables: str
) -> subprocess.Popen[bytes]:
    """Start a node of one CPU that does not see the contents of a folder: its raylet has its own mount namespace."""
    ray = Path(sys.executable).with_name("ray")
    given = json.dumps({"blind": 1, **(resources or {})})
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

"""A Ray cluster of several raylets on this machine, in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from launched import kill_session

RAYLETS = Path(__file__).with_name("raylets.py")
LOCAL = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


class Raylets:
    """A head without CPUs, and nodes of one CPU that come and go."""

    def __init__(self, folder):
        with (folder / "raylets.txt").open("w") as err:
            self.process = subprocess.Popen(
                [sys.executable, RAYLETS],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=err,
                text=True,
                start_new_session=True,
                env=os.environ | LOCAL,
            )
        self.address = self._read()["address"]
        self.raylets = {}

    def add(self):
        self.process.stdin.write("add\n")
        self.process.stdin.flush()
        node = self._read()
        self.raylets[node["node_id"]] = node["raylet"]

    def close(self):
        kill_session(self.process.pid)
        self.process.wait()

    def _read(self):
        while line := self.process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        raise AssertionError("the raylets ended")

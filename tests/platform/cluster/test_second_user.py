"""Another user of the machine gets nothing from a running sweep: not from its ports, sockets or files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "second_user.py"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_no_port_no_socket_and_no_file_lets_another_user_in(tmp_path):
    record = tmp_path / "record.json"
    command = [sys.executable, SCRIPT, "--seconds", "20", "--json", record]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert record.is_file(), done.stderr
    found = json.loads(record.read_text())
    assert not found["let_in"]
    assert not found["exposed"], "what listens beyond this machine"
    assert not found["executed"], "a pickle was read"
    assert not found["token_seen"], "in a command line or a file of the launch"
    assert found["lived"], found["sweep"]
    processes = {entry["process"] for entry in found["ports"]}
    assert {"gcs_server", "raylet", "ray::RayTrainWorker"} <= processes
    opened = {call for calls in found["with_token"].values() for call in calls}
    assert len(opened) == 4, "with the token each of the calls works, so that a refusal means something"


@pytest.mark.skipif(os.geteuid() == 0, reason="this process is root")
def test_without_root_it_says_so():
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "run it as root" in done.stderr

"""A short soak: the same script that runs for an hour, with a kill every few seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SOAK = Path(__file__).parents[2] / "benchmarks" / "soak.py"


def test_a_sweep_with_random_kills_loses_and_doubles_nothing(tmp_path):
    record = tmp_path / "soak.json"
    arguments = ("--minutes", "0.8", "--trials", "16", "--pause", "4", "8", "--json", str(record))
    finished = subprocess.run([sys.executable, SOAK, *arguments], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, f"{finished.stdout}\n{finished.stderr}"
    found = json.loads(record.read_text())
    assert found["trials"] == 18 * found["launches"] >= 18
    assert found["kills"]

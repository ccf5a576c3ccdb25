"""Threads sleep while they wait, in every process of nmlab that computes."""

import subprocess
import sys

import pytest

from nmlab.platform.process.openmp_policy import patience

HELP = """
import os, sys
sys.argv = ["nmlab", "--help"]
from nmlab.platform.cli import main
try:
    main()
finally:
    print("waits", os.environ["OMP_WAIT_POLICY"], "torch" in sys.modules)
"""


@pytest.mark.parametrize(("chosen", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_sleep_unless_the_user_says_otherwise(monkeypatch, chosen, policy):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if chosen:
        monkeypatch.setenv("OMP_WAIT_POLICY", chosen)
    assert patience() == {"OMP_WAIT_POLICY": policy}
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert done.stdout.endswith(f"waits {policy} False\n"), "and before torch, which reads it, is loaded"

"""`nmlab run` on a signal: a checkpoint at the next step, from which the same command continues."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nmlab.platform import cli
from nmlab.platform.process.interruption import RunInterrupted

NMLAB = Path(sys.executable).with_name("nmlab")
RUN = ("run", "maskpro", "--samples", "4", "--sequence-length", "32", "--batch-size", "2", "--windows", "4")


@pytest.mark.slow
def test_ctrl_c_saves_a_checkpoint_from_which_the_same_command_continues(tmp_path):
    steps = ("--set", "steps=1000000")
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    process = subprocess.Popen(
        [NMLAB, *RUN, *steps, "--quiet"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 200
    while not (saved := list(tmp_path.glob("results/runs/*/checkpoint-*"))):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGHUP)
    assert process.wait(60) == 1
    message = process.stderr.read()
    steps_done = max(int(path.stem.partition("-")[2]) for path in saved[0].parent.glob("checkpoint-*.safetensors"))
    assert f"nmlab: stopped after step {steps_done} with a checkpoint; the same command continues from there" in message
    assert "Traceback" not in message


def test_a_trial_that_is_lost_between_two_steps_ends_the_command_with_a_line(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise RunInterrupted("interrupted while trial k1 was between two steps")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("nmlab.platform.run_one.run_one", interrupted)
    monkeypatch.setattr(sys, "argv", ["nmlab", *RUN])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    assert exit_.value.code == 1
    assert capsys.readouterr().err == "nmlab: interrupted while trial k1 was between two steps\n"

"""`nmlab run` on a signal: a checkpoint at the next step, from which the same command continues."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from nmlab.platform.cli import interruption
from nmlab.platform.cli.interruption import Interruption
from nmlab.platform.process.shutdown import SIGNALS

NMLAB = Path(sys.executable).with_name("nmlab")
RUN = ("run", "maskpro", "--samples", "4", "--sequence-length", "32", "--batch-size", "2", "--windows", "4")


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


@pytest.mark.parametrize("number", SIGNALS)
def test_a_trial_that_comes_to_its_next_step_is_only_asked(tmp_path, number):
    with Interruption(tmp_path, key="k") as taken:
        assert not taken.is_asked()
        signal.raise_signal(number)
        assert taken.is_asked()
    assert "after step 40 with a checkpoint" in taken.saved(40)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "nothing of it is kept"),
        (
            ("checkpoint-000000020.safetensors", "checkpoint-000000040.safetensors"),
            "its checkpoint after step 40 is kept",
        ),
    ],
)
@pytest.mark.parametrize("waits", [False, True])
def test_one_that_does_not_ends_with_a_line_on_what_is_lost(tmp_path, monkeypatch, capsys, files, message, waits):
    monkeypatch.setattr(interruption, "WAIT_S", 0.2)
    for name in files:
        (tmp_path / name).touch()

    def trial():
        with Interruption(tmp_path, key="k1"):
            signal.raise_signal(signal.SIGTERM)
            if not waits:
                signal.raise_signal(signal.SIGTERM)
            for _ in range(200):  # a wait of 20 s in one piece would not be interrupted
                time.sleep(0.1)

    with pytest.raises(typer.Exit) as exit_:
        trial()
    assert exit_.value.exit_code == 1
    assert capsys.readouterr().err == (
        f"nmlab: interrupted while trial k1 was between two steps; {message}, later work is lost; "
        "the same command continues from there\n"
    )

"""`nmlab run` on a signal: a checkpoint at the next step, from which the same command continues."""

import multiprocessing
import os
import signal
import sys

import pytest

from nmlab.platform import cli
from nmlab.platform.process.interruption import RunInterrupted
from nmlab.trials.methods.maskpro.run import MaskProRun

RUN = ("run", "maskpro", "--samples", "4", "--sequence-length", "32", "--batch-size", "2", "--windows", "4")


def _run(arguments, err, is_learning):
    """Run the command line in this process, which was forked from one that has imported all of it."""
    os.dup2(os.open(err, os.O_WRONLY | os.O_CREAT), 2)
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115 - until the process ends
    sys.argv, step_of = ["nmlab", *arguments], MaskProRun.step

    def step(run, number):
        values = step_of(run, number)
        is_learning.set()
        return values

    MaskProRun.step = step
    cli.main()


@pytest.mark.slow
@pytest.mark.usefixtures("tracking_uri")
def test_ctrl_c_saves_a_checkpoint_from_which_the_same_command_continues(tmp_path):
    err, context = tmp_path / "err.txt", multiprocessing.get_context("fork")
    arguments, is_learning = [*RUN, "--set", "steps=1000000", "--quiet"], context.Event()
    process = context.Process(target=_run, args=(arguments, err, is_learning))
    process.start()
    try:
        assert is_learning.wait(200), err.read_text()
        os.kill(process.pid, signal.SIGHUP)
        process.join(60)
        assert process.exitcode == 1
    finally:
        process.kill()
    message = err.read_text()
    saved = list(tmp_path.glob("results/runs/*/checkpoint-*.safetensors"))
    steps_done = max(int(path.stem.partition("-")[2]) for path in saved)
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

"""A single trial on a signal: it is asked to stop at its next step, or ends with a line on what is lost."""

import signal
import threading

import pytest

from nmlab.platform.process import interruption
from nmlab.platform.process.interruption import Interruption, RunInterrupted
from nmlab.platform.process.shutdown import SIGNALS


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
@pytest.mark.timeout(60)
@pytest.mark.parametrize("waits", [False, True])
def test_one_that_does_not_ends_with_a_line_on_what_is_lost(tmp_path, monkeypatch, files, message, waits):
    monkeypatch.setattr(interruption, "WAIT_S", 0.2)
    for name in files:
        (tmp_path / name).touch()

    def trial():
        with Interruption(tmp_path, key="k1"):
            signal.raise_signal(signal.SIGTERM)
            if not waits:
                signal.raise_signal(signal.SIGTERM)
            threading.Event().wait()  # blocked for ever, unless the signal comes to this thread

    with pytest.raises(RunInterrupted) as ended:
        trial()
    assert str(ended.value) == (
        f"interrupted while trial k1 was between two steps; {message}, later work is lost; "
        "the same command continues from there"
    )


def test_handlers_are_put_back_and_a_thread_has_none(tmp_path):
    before = [signal.getsignal(number) for number in SIGNALS]
    with Interruption(tmp_path, key="k"):
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
    found = []

    def elsewhere():
        with Interruption(tmp_path, key="k"):
            found.append([signal.getsignal(number) for number in SIGNALS])

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [before]

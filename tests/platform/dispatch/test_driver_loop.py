"""The driver's thread: when it acknowledges what it has received, and how it opens a restarted dispatcher."""

from nmlab.platform.dispatch.driver_loop import DriverLoop
from nmlab.platform.dispatch.messages import Drained, LoggedRecord
from nmlab.platform.records.events import TrialSubmitted

KEYS = "xyz"


class Dispatcher:
    """The client of a dispatcher that has one more record with each call, and notes in which order it is called."""

    def __init__(self, calls):
        self._calls, self._given = calls, 0

    def open(self, ended, *, replicas, cancelled, leased):
        self._calls.append(("open", dict(ended), dict(replicas), cancelled, dict(leased)))

    def drain(self, generation, *, acknowledged, refused, within):
        if generation != 7:
            return Drained(7, upto=0)
        self._calls.append(("acknowledged", acknowledged))
        self._given = min(self._given + 1, len(KEYS))
        known = enumerate(KEYS[: self._given], start=1)
        records = [LoggedRecord(number, TrialSubmitted(key=key, spec={})) for number, key in known]
        return Drained(7, self._given, records[acknowledged:], silent_seconds=0.0)

    def cancel(self, key, *, generation):
        self._calls.append(("cancel", key, generation))


def run(to_cancel=()):
    calls = []

    def accept(records):
        calls.append(("journal", *(record.key for record in records)))

    loop = DriverLoop(Dispatcher(calls), accept=accept, on_round=lambda: None, to_cancel=lambda: to_cancel)
    assert loop.finish(within=30)
    assert loop.error is None
    return calls, loop


def test_records_are_acknowledged_only_after_they_are_in_the_journal():
    calls, loop = run()
    about_records = [call for call in calls if call[0] != "open"]
    assert about_records[:6] == [
        *(("acknowledged", 0), ("journal", "x")),
        *(("acknowledged", 1), ("journal", "y")),
        *(("acknowledged", 2), ("journal", "z")),
    ]
    assert loop.received.unended() == list(KEYS)


def test_what_cannot_be_journaled_is_never_acknowledged():
    calls = []

    def accept(records):
        raise OSError("no room")

    loop = DriverLoop(Dispatcher(calls), accept=accept, on_round=lambda: None, to_cancel=tuple)
    assert loop.finish(within=30)
    assert isinstance(loop.error, OSError)
    assert [call for call in calls if call[0] == "acknowledged"] == [("acknowledged", 0)]


def test_a_dispatcher_is_opened_with_the_trials_to_stop_before_anything_else():
    calls, _ = run(to_cancel=("y", "x"))
    assert calls[0] == ("open", {}, {}, ["x", "y"], {})
    assert "cancel" not in {call[0] for call in calls}, "it knows them already"

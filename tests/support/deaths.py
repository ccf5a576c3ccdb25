"""Simulated launches whose drivers are killed one after the other: after every record, in few launches."""

import itertools

from nmlab.platform.records.events import JournalRecord
from nmlab.platform.testing.simulation import SimulatedLaunch


def run_with_deaths(launch: SimulatedLaunch, *, first: int, every: int) -> int:
    """Run drivers until one comes to its end; those before it are killed. Return how many were.

    The first is killed after ``first`` records, the next after ``every`` more, and so on. What is recorded again
    because of an earlier death does not count, so that launches with ``first`` from 1 to ``every`` have a death after
    each record of an undisturbed launch.
    """
    said, seen, killed = set[tuple[object, ...]](), len(launch.written), 0

    def has_said(number: int) -> bool:
        nonlocal seen
        said.update(map(_what, launch.written[seen:]))
        seen = len(launch.written)
        return len(said) >= number

    launch.start()
    for number in itertools.count(first, every):
        launch.run_until(lambda number=number: has_said(number) or not launch.is_running)
        if not launch.is_running:
            break
        launch.kill_driver()
        launch.run_for(3.0)
        launch.start()
        killed += 1
    launch.finish()
    return killed


def _what(record: JournalRecord) -> tuple[object, ...]:
    """Return what a record is about: of a trial which step, of a replica that it came, was checked or left."""
    if hasattr(record, "key"):
        return type(record), record.key, getattr(record, "step", None)
    return type(record), getattr(record, "host", None)

"""How long a launch will still take, from the seconds of its trials that have ended and the pace of those that run."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

SEARCH = "the search"
"""What is not measured as long as no trial of the search has begun."""
_MILLISECONDS = 1000.0


@dataclass
class StepPace:
    """How fast the steps of a trial follow each other, since a replica took it.

    Attributes:
        first: step and time in milliseconds of the first point.
        last: the same of the newest point.
    """

    first: tuple[int, int] | None = None
    last: tuple[int, int] | None = None

    def follow(self, step: int, time: int) -> None:
        """Accept a point; those of a step that was seen before, as of a trial that moved, begin anew."""
        if self.first is None or self.last is None or step < self.last[0]:
            self.first = (step, time)
        self.last = (step, time)

    @property
    def seconds_a_step(self) -> float | None:
        """The mean since the first point; None before there are two steps."""
        if self.first is None or self.last is None or self.last[0] <= self.first[0]:
            return None
        return (self.last[1] - self.first[1]) / _MILLISECONDS / (self.last[0] - self.first[0])


@dataclass(frozen=True)
class TrialWork:
    """What is known of the time of a trial that has been submitted.

    Attributes:
        kind: trials of the same kind take as long for a step: its method.
        steps: as planned; 0 for a method that does not learn.
        step: how far it is.
        earlier_step: how far it was when this process of the launch began.
        has_ended: whether it needs no more work.
        is_earlier: whether an earlier process of the launch ended it.
        seconds: what it took, once it has ended; None if that is not known.
        pace: the seconds of its steps, while it runs; None if that is not known.
        is_of_search: whether trials that are still to be proposed are like it.
        is_running: whether a replica works on it.
    """

    kind: str
    steps: int = 0
    step: int = 0
    earlier_step: int = 0
    has_ended: bool = False
    is_earlier: bool = False
    seconds: float | None = None
    pace: float | None = None
    is_of_search: bool = True
    is_running: bool = False


@dataclass(frozen=True)
class TimeLeft:
    """The seconds that a launch will still take.

    Attributes:
        seconds: an estimate, or where ``unmeasured`` names a kind of trials a lower bound: these are not in it.
        unmeasured: the kinds of trials with work left of which nothing is measured.
    """

    seconds: float
    unmeasured: tuple[str, ...] = ()


def time_left(trials: Sequence[TrialWork], *, to_come: int, elapsed: float) -> TimeLeft | None:
    """Return how long a launch will still take; None as long as nothing of this process is measured.

    The work that is left, in seconds of trials, is divided by the work that this process has done in a second: so slots
    that wait, and trials that hinder each other, are in it as they were measured. Trials that run and whose pace is not
    measured count as having worked all the time, so that what is left is not overstated.

    Args:
        trials: those that have been submitted.
        to_come: how many trials are planned beside them.
        elapsed: seconds since this process gave the first trial to a replica.
    """
    rates = _Rates.of(trials)
    left_of = {id(trial): rates.left(trial) for trial in trials if not trial.has_ended}
    unknown = [trial for trial in trials if not trial.has_ended and left_of[id(trial)] is None]
    one_to_come = _mean(rates.whole(trial) for trial in trials if trial.is_of_search) if to_come else 0.0
    kinds = [trial.kind for trial in unknown]
    if one_to_come is None:
        kinds += [trial.kind for trial in trials if trial.is_of_search] or [SEARCH]
    left = math.fsum(filter(None, left_of.values())) + to_come * (one_to_come or 0.0)
    if left == 0 and not kinds:
        return TimeLeft(0.0)
    done = math.fsum(map(rates.done, trials))
    if done <= 0 or elapsed <= 0:
        return None
    most_done = done + elapsed * sum(trial.is_running for trial in unknown)
    return TimeLeft(left * elapsed / most_done, tuple(dict.fromkeys(kinds)))


@dataclass(frozen=True)
class _Rates:
    """Seconds of a step of each kind that learns, and of a trial of each kind that does not, where measured."""

    of_step: Mapping[str, float]
    of_trial: Mapping[str, float]

    @classmethod
    def of(cls, trials: Sequence[TrialWork]) -> Self:
        """Measure them: by trials that have ended, else by the pace of those that run."""
        by_kind: dict[str, list[TrialWork]] = {}
        for trial in trials:
            by_kind.setdefault(trial.kind, []).append(trial)
        steps = {kind: _seconds_a_step(same) for kind, same in by_kind.items()}
        whole = {kind: _mean(trial.seconds for trial in same if not trial.steps) for kind, same in by_kind.items()}
        return cls(*({kind: value for kind, value in each.items() if value is not None} for each in (steps, whole)))

    def left(self, trial: TrialWork) -> float | None:
        """Return the seconds that a trial has before it."""
        if not trial.steps:
            return self.of_trial.get(trial.kind)
        pace = self.of_step.get(trial.kind)
        return None if pace is None else max(0, trial.steps - trial.step) * pace

    def whole(self, trial: TrialWork) -> float | None:
        """Return the seconds of a trial from its start to its end."""
        if trial.has_ended or not trial.steps:
            return trial.seconds
        pace = self.of_step.get(trial.kind)
        return None if pace is None else trial.steps * pace

    def done(self, trial: TrialWork) -> float:
        """Return the seconds that this process of the launch has spent on a trial."""
        if trial.is_earlier:
            return 0.0
        here = max(0, trial.step - trial.earlier_step)
        if trial.has_ended:
            return (here / trial.step if trial.step else 1.0) * (trial.seconds or 0.0)
        return here * self.of_step.get(trial.kind, 0.0)


def _seconds_a_step(trials: Sequence[TrialWork]) -> float | None:
    measured = [trial for trial in trials if trial.has_ended and trial.seconds is not None and trial.steps]
    steps = sum(trial.step for trial in measured)
    if steps:
        return math.fsum(trial.seconds or 0.0 for trial in measured) / steps
    return _mean(trial.pace for trial in trials)


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None

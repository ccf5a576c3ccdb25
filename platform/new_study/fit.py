"""What fits a machine: replicas and slots into its memory, steps and configurations into the time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from nmlab.platform.new_study.draft import Draft
from nmlab.platform.planning.admission import replica_fit
from nmlab.platform.planning.estimate import Estimate
from nmlab.platform.planning.forecast import Forecast
from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.trials.sizing.preflight import PreflightFacts

_CONFIGURATIONS = (24, 20, 16, 12, 8)
"""How many a search tries: as many as there is time for."""
_FEWEST_STEPS = 100
_MOST_REPLICAS, _MOST_SLOTS = 4, 4
_KEPT = 0.8
"""The share of the time that trials are planned for; the rest is for starting processes and the report."""


@dataclass(frozen=True)
class Fitted:
    """A draft whose memory fits, and the estimate by which it does."""

    draft: Draft
    estimate: Estimate


def fit_memory(draft: Draft, facts: PreflightFacts) -> Fitted:
    """Return the draft with as many replicas, slots and sequences at once as fit here.

    Raises ``ValueError`` with one line if not even one trial fits, with the numbers.
    """
    *larger, smallest = _tries(draft, _estimated(draft, facts))
    for each in larger:
        found = Fitted(each, _estimated(each, facts))
        with suppress(ValueError):
            found.estimate.check()
            return found
    found = Fitted(smallest, _estimated(smallest, facts))
    found.estimate.check()
    return found


def fit_time(fitted: Fitted) -> Draft:
    """Return the draft with steps and configurations for which the budget suffices.

    Raises ``ValueError`` with one line if it does not suffice for a small search, with how long that takes.
    """
    draft, wanted = fitted.draft, fitted.draft.advice.steps
    clock = _Clock(fitted)
    for configurations in _CONFIGURATIONS:
        if clock.seconds(configurations, wanted) <= draft.request.budget_seconds:
            return _timed(draft, configurations, wanted, clock)
    least = _CONFIGURATIONS[-1]
    steps = clock.steps(least)
    if steps < _FEWEST_STEPS:
        needed = clock.seconds(least, _FEWEST_STEPS)
        raise ValueError(
            f"budget {draft.request.budget}: {least} configurations of {_FEWEST_STEPS} steps, with their seeds and "
            f"their confirmation, take about {_duration(needed)} here; expected that or more"
        )
    return _timed(draft, least, steps, clock)


class _Clock:
    """How long a draft takes, by its estimate."""

    def __init__(self, fitted: Fitted) -> None:
        draft, estimate = fitted.draft, fitted.estimate
        facts = estimate.plan.facts
        self._draft = draft
        self._validation = facts.validation_windows / facts.evaluation_windows
        own = [forecast for spec, forecast in estimate.forecasts if spec.method == draft.request.method]
        self._own = max(own, key=lambda each: each.step_seconds)
        rules = [forecast for spec, forecast in estimate.forecasts if spec.method != draft.request.method]
        self._rules = sum(self._trial(each, 0) for each in rules)

    def seconds(self, configurations: int, steps: int) -> float:
        """Return the seconds by the clock of a search with so many configurations of so many steps."""
        trials = replace(self._draft, configurations=configurations).learned_trials
        return (self._rules + trials * self._trial(self._own, steps)) / self._draft.concurrency / _KEPT

    def steps(self, configurations: int) -> int:
        """Return the steps that the budget allows, to two digits; 0 if not even one."""
        beside = self.seconds(configurations, 0)
        each = self.seconds(configurations, 1) - beside
        possible = (self._draft.request.budget_seconds - beside) / each if each > 0 else 0.0
        return _two_digits(possible)

    def _trial(self, forecast: Forecast, steps: int) -> float:
        starts = 1 if forecast is self._own else 0
        return forecast.seconds(steps=steps, evaluations=1 + self._validation * (1 + starts))


def _estimated(draft: Draft, facts: PreflightFacts) -> Estimate:
    return Estimate.here(LaunchPlan.unchecked(draft.study(), facts=facts))


def _tries(draft: Draft, estimate: Estimate) -> Iterator[Draft]:
    """Yield drafts that need less and less memory: fewer trials at once, then fewer sequences at once."""
    machine = estimate.machine
    if machine.device == "cuda":
        fit = replica_fit(draft.study(), estimate.load, machine=machine)
        slots = max(1, min(_MOST_SLOTS, fit.slots or 1))
        reason = f"a replica for each GPU; trials share its weights, and so many slots fit, {_MOST_SLOTS} at most"
        yield replace(draft, replicas=(machine.device_count, slots, reason))
    counts = [machine.device_count] if machine.device == "cuda" else _up_to(min(_MOST_REPLICAS, machine.cores))
    sequences = draft.sizes.batch
    while sequences:
        micro = None if sequences == draft.sizes.batch else sequences
        for count in counts:
            yield replace(draft, replicas=(count, 1, _why(count, machine.cores, machine.device)), micro_batch=micro)
        sequences //= 2


def _up_to(count: int) -> list[int]:
    """Return the numbers from ``count`` down to 1."""
    return list(range(count, 0, -1))


def _why(count: int, cores: int, device: str) -> str:
    if device == "cuda":
        return "a replica for each GPU, with one slot, as more do not fit"
    return (
        f"as many replicas as fit into memory, one for each of {cores} cores, {_MOST_REPLICAS} at most; they share the "
        "pages of the weights"
    )


def _timed(draft: Draft, configurations: int, steps: int, clock: _Clock) -> Draft:
    taken = _duration(clock.seconds(configurations, steps))
    why = f"with 3 seeds each and what confirms them about {taken} here, by an estimate; {_CONFIGURATIONS[0]} at most"
    return replace(draft, configurations=configurations, steps=steps, time_reason=why)


def _two_digits(value: float) -> int:
    whole = int(value)
    unit = int(10 ** max(0, len(str(whole)) - 2))
    return whole // unit * unit


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 5400 else f"{seconds / 3600:.1f}h"

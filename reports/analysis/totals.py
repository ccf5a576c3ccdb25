"""The total cost of runs, finished or not: one sum for sentences, tables and figures."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.values import Style, counted, number_text
from nmlab.trials.contract.run_tags import KnownCost

SECONDS, SPENT = "cost/seconds", "cost/spent_seconds"
STEP_PARTS = ("time/sample_s", "time/forward_s", "time/update_s")


@dataclass(frozen=True, slots=True)
class Total:
    """The sum of a cost over runs.

    Attributes:
        value: over the runs whose cost is known, in part or whole.
        runs: all runs of any status, without external models.
        unknown: the runs of which no cost is known.
        in_part: the runs whose cost is known up to their last checkpoint.
    """

    value: float
    runs: int
    unknown: int
    in_part: int

    @property
    def known(self) -> int:
        """The runs that the sum is taken over."""
        return self.runs - self.unknown


def total_of(configurations: Iterable[Configuration], *, metric: str = SECONDS) -> Total:
    """Return the sum of a cost over all runs of some configurations, those on fresh seeds included."""
    value, runs, unknown, in_part = 0.0, 0, 0, 0
    for item in configurations:
        trials = [trial for trial in item.every_trial if not trial.is_external_model]
        costs = [trial.metric(metric) for trial in trials]
        value += math.fsum(cost for cost in costs if not math.isnan(cost))
        runs += len(costs)
        unknown += sum(map(math.isnan, costs))
        in_part += sum(trial.cost_known == KnownCost.IN_PART for trial in trials)
    return Total(value, runs, unknown, in_part)


def step_shares(item: Configuration) -> dict[str, float] | None:
    """Return the percentage of each part of a training step in their sum, by metric; None where none was timed."""
    parts = {metric: item.estimate(metric) for metric in STEP_PARTS}
    means = {metric: part.mean if part is not None else 0.0 for metric, part in parts.items()}
    total = sum(means.values())
    return {metric: 100 * mean / total for metric, mean in means.items()} if total else None


def gaps_text(total: Total) -> str:
    """Return of which runs a total lacks the cost; "" where it lacks none."""
    gaps = [f"cost of {counted(total.unknown, noun='run')} unknown"] if total.unknown else []
    if total.in_part:
        gaps.append(f"of {counted(total.in_part, noun='run')} known up to the last checkpoint")
    return ", ".join(gaps)


def total_text(total: Total) -> str:
    """Return a total of seconds: ``126 s``, ``126 s (cost of 2 runs unknown)``."""
    gaps = gaps_text(total)
    return f"{number_text(total.value, style=Style.SECONDS)} s" + (f" ({gaps})" if gaps else "")


def totals_line(configurations: Sequence[Configuration]) -> str:
    """Return the total cost of all runs; empty where no cost is known."""
    whole = total_of(configurations)
    return f"Together, finished or not: {_over_runs(whole)}." if whole.known else ""


def totals_by_method(configurations: Sequence[Configuration]) -> str:
    """Return the total cost of each method's runs; empty where no cost is known."""
    methods = dict.fromkeys(item.method for item in configurations)
    totals = {method: total_of(item for item in configurations if item.method == method) for method in methods}
    shown = [f"{method} {_over_runs(total)}" for method, total in totals.items() if total.runs]
    return f"All runs of a method together: {', '.join(shown)}." if any(t.known for t in totals.values()) else ""


def _over_runs(total: Total) -> str:
    seconds, _, gaps = total_text(total).partition(" (")
    return f"{seconds} in {counted(total.runs, noun='run')}" + (f" ({gaps}" if gaps else "")

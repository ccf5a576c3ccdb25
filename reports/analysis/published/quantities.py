"""Printed numbers in terms of our metrics: the same quantity in the printed unit, or computed from our metrics."""

from typing import Protocol

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.statistics import MeanEstimate
from nmlab.trials.contract.measures import Direction
from nmlab.trials.contract.metrics import Metric, task_metric

SAME = {  # published name: our name and the factor from our unit to the printed one
    "wikitext/word_perplexity": ("eval/word_perplexity", 1.0),
    "memory/peak": ("memory/peak_bytes", 1e-9),
    "time/sample_s": ("time/sample_s", 1.0),
    "time/forward_s": ("time/forward_s", 1.0),
    "time/update_s": ("time/update_s", 1.0),
    "cost/trainable_params": ("cost/trainable_params", 1e-9),
}
PARTS_OF_A_STEP = ("time/sample_s", "time/forward_s", "time/update_s")
PERCENT_OF_A_STEP = {f"{name.removesuffix('_s')}_share": name for name in PARTS_OF_A_STEP}
TIMES_AS_MANY = {"cost/trainable_ratio": ("cost/trainable_params", "susi")}  # of that method
TIMES_AS_FAST = {"time/sample_speedup": ("time/sample_s", "sampler=multinomial")}  # with that setting

COUNTED = ("memory", "time", "cost")
HIGHER = ("time/sample_speedup",)  # of these, the ones where higher is better
GAINS = {"acc_gain": "acc", "acc_change": "acc"}  # printed differences, by the measure that they are of


class RowLike(Protocol):
    """Finds the configuration of the same printed row with another method or setting."""

    def __call__(self, *, method: str = ..., setting: str = ...) -> Configuration | None: ...


def is_cost(metric: str) -> bool:
    """Return whether a printed number is a cost of learning rather than the quality of a mask."""
    return metric.partition("/")[0] in COUNTED


def printed_direction(metric: str) -> Direction:
    """Return which way a printed number gets better; hyperparameters and facts of a machine have no direction."""
    if is_cost(metric):
        return Direction.HIGHER if metric in HIGHER else Direction.LOWER
    measured = printed_measure(metric)
    return Direction.NONE if measured is None else measured.direction


def printed_measure(metric: str) -> Metric | None:
    """Return the measure of a task that is printed as ``task/measure``, or as a difference of it; None for the rest."""
    task, _, measure = metric.rpartition("/")
    return None if is_cost(metric) else task_metric(f"eval/{task}/{GAINS.get(measure, measure)}")


def quantity(metric: str, item: Configuration, *, row_like: RowLike) -> MeanEstimate | None:
    """Return the printed quantity ``metric`` of ``item`` in the printed unit; None where we did not measure it.

    ``row_like`` finds other rows, since some numbers are printed as multiples of another row's. Shares and multiples
    are of the means and have no interval.
    """
    if metric in PERCENT_OF_A_STEP:
        parts = [item.estimate(name) for name in PARTS_OF_A_STEP]
        whole = sum(part.mean for part in parts if part is not None)
        return _over(item.estimate(PERCENT_OF_A_STEP[metric]), whole / 100) if None not in parts else None
    if metric in TIMES_AS_MANY:
        name, method = TIMES_AS_MANY[metric]
        one = _measured(row_like(method=method), name)
        return None if one is None else _over(item.estimate(name), one.mean)
    if metric in TIMES_AS_FAST:
        name, setting = TIMES_AS_FAST[metric]
        own = item.estimate(name)
        return None if own is None else _over(_measured(row_like(setting=setting), name), own.mean)
    name, factor = SAME.get(metric, (f"eval/{metric}", 100.0) if metric.endswith("/acc") else ("", 1.0))
    same = _measured(item, name)
    return None if same is None else _scaled(same, factor)


def _measured(item: Configuration | None, name: str) -> MeanEstimate | None:
    return item.estimate(name) if item is not None and name else None


def _over(estimate: MeanEstimate | None, number: float) -> MeanEstimate | None:
    return None if estimate is None or number <= 0 else MeanEstimate(estimate.mean / number, None, None, estimate.n)


def _scaled(estimate: MeanEstimate, factor: float) -> MeanEstimate:
    low, high = (None if end is None else end * factor for end in (estimate.low, estimate.high))
    return MeanEstimate(estimate.mean * factor, low, high, estimate.n)

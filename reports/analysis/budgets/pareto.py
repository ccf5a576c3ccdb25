"""The front of quality against cost: configurations that no other beats in both."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import Configuration, groups_of
from nmlab.reports.statistics import MeanEstimate

PEAK = "memory/peak_bytes"
FRONT_COSTS = ("cost/seconds", "cost/tokens", PEAK, "memory/state_bytes")
LEAST_SHARE, LEAST_RANGES = 0.05, 2.0
"""What peaks of a whole process must differ by: a share of it, and the widest range of one configuration's runs."""


@dataclass(frozen=True, slots=True)
class FrontPoint:
    """One configuration with its mean quality and cost, and the costs on whose front it is.

    ``value`` is of the reported metric; the searched one decides which configurations are on a front.
    """

    item: Configuration
    group: tuple[str, ...]
    value: MeanEstimate
    costs: dict[str, float]
    on_front: tuple[str, ...]


def front(costs: Sequence[float], *, losses: Sequence[float]) -> list[bool]:
    """Return for each point whether no other is at most as costly and at most as bad, and better in one of both.

    Args:
        costs: less is better.
        losses: less is better; the same length.

    Raises:
        ValueError: different lengths.
    """
    if len(costs) != len(losses):
        raise ValueError(f"a front needs a loss for every cost but got {len(losses)} for {len(costs)}")
    order = sorted(range(len(costs)), key=lambda place: (costs[place], losses[place]))
    on_front = [False] * len(costs)
    best, best_cost = float("inf"), float("nan")
    for place in order:
        improves = losses[place] < best
        if improves or (losses[place] == best and costs[place] == best_cost):
            on_front[place] = True
            best, best_cost = losses[place], costs[place]
    return on_front


def front_points(configurations: Sequence[Configuration]) -> tuple[FrontPoint, ...]:
    """Return every complete configuration with its costs and the fronts it is on, group by group.

    A cost that is not recorded for all, or does not differ within a group, has no front, nor have peaks of memory that
    differ by no more than their noise. A configuration that breaks a constraint of the search is on none, and keeps no
    other off one.
    """
    found: list[FrontPoint] = []
    for group, members in groups_of(item for item in configurations if item.is_complete).items():
        valued = [(item, own, item.value) for item in members if (own := item.selection) and item.value is not None]
        means = {cost: [item.estimate(cost) for item, *_ in valued] for cost in FRONT_COSTS}
        known = {cost: [own.mean for own in column if own is not None] for cost, column in means.items()}
        kinds = [cost for cost in FRONT_COSTS if len(known[cost]) == len(valued) and len(set(known[cost])) > 1]
        if PEAK in kinds and not peaks_differ([item for item, *_ in valued]):
            kinds.remove(PEAK)
        sign = 1.0 if members[0].objective.mode == "min" else -1.0
        losses = [math.inf if item.breaks_constraint else sign * own.mean for item, own, _ in valued]
        fronts = {cost: front(known[cost], losses=losses) for cost in kinds}
        for place, (item, _, value) in enumerate(valued):
            costs = {cost: known[cost][place] for cost in kinds}
            on_front = tuple(cost for cost in kinds if fronts[cost][place])
            found.append(FrontPoint(item, group, value, costs, on_front))
    return tuple(found)


def peaks_differ(items: Sequence[Configuration]) -> bool:
    """Return whether the mean peaks of memory differ by more than noise.

    A peak is that of a whole process: libraries, the frozen model and trials side by side are in it. Small differences
    show which trial ran when in a process, and not what a method needs.
    """
    runs = [list(item.by_run(PEAK).values()) for item in items]
    known = [values for values in runs if values]
    means = [math.fsum(values) / len(values) for values in known]
    if len(means) < 2:
        return False
    widest = max(max(values) - min(values) for values in known)
    return max(means) - min(means) > max(LEAST_SHARE * max(means), LEAST_RANGES * widest)

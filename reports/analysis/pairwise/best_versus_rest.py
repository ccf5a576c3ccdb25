"""Best versus rest: the best of each group of comparable masks against all others of the group."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import islice

from nmlab.reports.analysis.metrics import direction_of, is_of_task, selection_metric
from nmlab.reports.analysis.pairwise.comparison import PairwiseComparison, adjusted_together, pairwise_comparisons
from nmlab.reports.analysis.pairwise.side import Competitor, Side
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.values import Direction


def best_versus_rest(
    competitors: Iterable[Competitor], *, metric: str, evaluations: Mapping[str, RunEvaluation]
) -> dict[Hashable, tuple[PairwiseComparison, ...]]:
    """Compare the masks of each group with the best of the group, which the searched metric selects.

    Args:
        competitors: the rows of a table; the dense model and incomplete configurations are in no group.
        metric: the metric to compare.
        evaluations: per-window losses by run id.
    """
    found: dict[Hashable, tuple[PairwiseComparison, ...]] = {}
    groups: dict[Hashable, list[Side]] = {}
    for row in competitors:
        if row.group is not None:
            groups.setdefault(row.group, []).append(row.side)
    for group, sides in groups.items():
        valued = [side for side in sides if side.values(metric)]
        best = selected_side(valued, metric=metric)
        if best is not None and len(valued) > 1:
            others = [side for side in valued if side is not best]
            found[group] = pairwise_comparisons(best, others=others, metric=metric, evaluations=evaluations)
    return found


def compared_with_best(
    competitors: Sequence[Competitor], *, metrics: Iterable[str], evaluations: Mapping[str, RunEvaluation]
) -> dict[str, Mapping[Hashable, tuple[PairwiseComparison, ...]]]:
    """Compare the masks of each group with the best of the group, in every metric.

    P-values are adjusted within a group and metric; those of all measures of tasks are adjusted together.

    Args:
        competitors: the rows of a table.
        metrics: the metrics to compare.
        evaluations: losses by window and outcomes by question, by run id.
    """
    found = {metric: best_versus_rest(competitors, metric=metric, evaluations=evaluations) for metric in metrics}
    return _with_tasks_adjusted_together(found)


def _with_tasks_adjusted_together(
    comparisons: Mapping[str, Mapping[Hashable, tuple[PairwiseComparison, ...]]],
) -> dict[str, Mapping[Hashable, tuple[PairwiseComparison, ...]]]:
    """Return comparisons by metric and group, with the p-values of all measures of tasks adjusted together."""
    places = [(metric, group) for metric, groups in comparisons.items() if is_of_task(metric) for group in groups]
    found = iter(adjusted_together([item for metric, group in places for item in comparisons[metric][group]]))
    result: dict[str, dict[Hashable, tuple[PairwiseComparison, ...]]] = {
        key: dict(own) for key, own in comparisons.items()
    }
    for metric, group in places:
        result[metric][group] = tuple(islice(found, len(comparisons[metric][group])))
    return dict(result)


def selected_side(sides: Sequence[Side], *, metric: str) -> Side | None:
    """Return the best side: by a metric, or by the objective of the search where that selects on another text.

    Sides of studies that were searched by different metrics are compared by the metric itself. None without sides that
    have a value to be selected by, or if the metric has no direction.
    """
    objectives = {side.item.objective for side in sides}
    by = selection_metric(metric, objective=sides[0].item.objective) if len(objectives) == 1 else metric
    return best_side([side for side in sides if side.values(by)], metric=by)


def best_side(sides: Sequence[Side], *, metric: str) -> Side | None:
    """Return the side with the best mean of a metric; None without sides, or if the metric has no direction."""
    direction = direction_of(metric, objective=sides[0].item.objective) if sides else Direction.NONE
    if direction is Direction.NONE:
        return None
    sign = 1.0 if direction is Direction.LOWER else -1.0
    return min(sides, key=lambda side: sign * _mean(side, metric))


def _mean(side: Side, metric: str) -> float:
    values = side.values(metric).values()
    return math.fsum(values) / len(values)

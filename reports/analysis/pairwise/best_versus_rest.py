"""Best versus rest: the best of each group of comparable masks against all others of the group."""

import math
from collections.abc import Hashable, Mapping, Sequence
from itertools import islice

from nmlab.reports.analysis.metrics import direction_of, is_counted, is_of_task
from nmlab.reports.analysis.pairwise.comparison import PairwiseComparison, adjusted_together, pairwise_comparisons
from nmlab.reports.analysis.pairwise.side import Side
from nmlab.reports.analysis.summary_rows import SummaryRow
from nmlab.reports.read.evaluations import Evaluation
from nmlab.reports.values import Direction


def best_versus_rest(
    summary_rows: Sequence[SummaryRow], *, metric: str, evaluations: Mapping[str, Evaluation]
) -> dict[Hashable, tuple[PairwiseComparison, ...]]:
    """Compare the masks of each group of summary rows with the best of the group.

    Args:
        summary_rows: the rows of the summary; the dense model and incomplete configurations are in no group.
        metric: the metric to compare.
        evaluations: per-window losses by run id.
    """
    found: dict[Hashable, tuple[PairwiseComparison, ...]] = {}
    for group in dict.fromkeys(row.group for row in summary_rows if row.group is not None):
        sides = [Side(row.item, row.kind == "initial") for row in summary_rows if row.group == group]
        valued = [side for side in sides if side.values(metric)]
        best = best_side(valued, metric=metric)
        if best is not None and len(valued) > 1:
            others = [side for side in valued if side is not best]
            found[group] = pairwise_comparisons(best, others=others, metric=metric, evaluations=evaluations)
    return found


def adjusted_tasks(
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


def best_side(sides: Sequence[Side], *, metric: str) -> Side | None:
    """Return the side with the best mean of a metric; None without sides, or if the metric has no direction."""
    direction = direction_of(metric, objective=sides[0].item.objective) if sides else Direction.NONE
    if direction is Direction.NONE:
        return None
    sign = 1.0 if direction is Direction.LOWER else -1.0
    return min(sides, key=lambda side: sign * _mean(side, metric))


def tied_with_best(comparisons: Mapping[Hashable, Sequence[PairwiseComparison]]) -> set[tuple[str, bool]]:
    """Return configuration key and ``is_initial`` of every side that no test separates from the best.

    Sides that could not be tested are included; counted metrics need no test.
    """
    items = [item for group in comparisons.values() for item in group if _is_open(item)]
    return {(item.side.item.key, item.side.is_initial) for item in items}


def untested_groups(comparisons: Mapping[Hashable, Sequence[PairwiseComparison]]) -> set[Hashable]:
    """Return the groups in which nothing could be tested; none of their masks is marked as the best."""
    return {group for group, items in comparisons.items() if all(_is_untested(item) for item in items)}


def _is_open(item: PairwiseComparison) -> bool:
    return item.is_separated is False or _is_untested(item)


def _is_untested(item: PairwiseComparison) -> bool:
    return item.is_separated is None and not is_counted(item.metric)


def _mean(side: Side, metric: str) -> float:
    values = side.values(metric).values()
    return math.fsum(values) / len(values)

"""Which masks are bold or underlined in a table: one rule for the tables of a report and for comparisons of studies.

Among comparable masks the best mean is bold, and with it every mask that is not found worse: what no test separates
from the best, what could not be tested, and, in the reported metric, what the tests of the winner leave undecided. Of
the rest, the best mean is second, which is underlined. Where nothing could be tested, nothing is marked.

Where configurations are selected on validation text, the tests are against the mask that this text selects. Masks that
they find better are bold, and no other. What is measured on the validation text is not marked: it is no result.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from nmlab.reports.analysis.configurations import Configuration, competing_group
from nmlab.reports.analysis.metrics import direction_of
from nmlab.reports.analysis.pairwise import Competitor, PairwiseComparison, Side, Winner, compared_with_best
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.values import Direction, Mark

DIGITS = 9  # in which means count as equal, since rounding moves the mean of equal numbers in the tenth


@dataclass(frozen=True, slots=True)
class MarkEvidence:
    """What marks rest on besides the seeds: losses by window and outcomes by question, by run id, and the winners."""

    evaluations: Mapping[str, RunEvaluation] = field(default_factory=dict)
    winners: Collection[Winner] = ()


ONLY_SEEDS = MarkEvidence()


def group_marks(
    means: Sequence[float], *, direction: Direction, is_distinct: Sequence[bool | None]
) -> tuple[Mark, ...]:
    """Return the marks of comparable masks; a mask alone, or a metric without a direction, has none.

    Args:
        means: of the masks, in the order of the table.
        direction: which way the metric gets better.
        is_distinct: for each mask whether a test separates it from the best; None where there is no test, and for the
            best itself.
    """
    if len(means) < 2 or direction is Direction.NONE or all(found is None for found in is_distinct):
        return (Mark.NONE,) * len(means)
    choose = max if direction is Direction.HIGHER else min
    rounded = [_rounded(mean) for mean in means]
    best = choose(rounded)
    rest = [mean for mean, found in zip(rounded, is_distinct, strict=True) if found and mean != best]
    second = choose(rest, default=None)
    return tuple(
        _mark(mean, best=best, second=second, is_distinct=bool(found))
        for mean, found in zip(rounded, is_distinct, strict=True)
    )


def _mark(mean: float, *, best: float, second: float | None, is_distinct: bool) -> Mark:
    if mean == best:
        return Mark.BEST
    if not is_distinct:
        return Mark.TIED
    return Mark.SECOND if mean == second else Mark.NONE


def marks_of(
    competitors: Sequence[Competitor],
    *,
    metric: str,
    comparisons: Mapping[Hashable, Sequence[PairwiseComparison]],
    winners: Collection[Winner] = (),
) -> tuple[Mark, ...]:
    """Return the mark of each row of a table in one metric.

    Args:
        competitors: the rows.
        metric: the metric of the column.
        comparisons: the rows of each group against its best, as by :func:`compared_with_best`.
        winners: the best of each search against all others of the search.
    """
    marks = [Mark.NONE] * len(competitors)
    for group, compared in comparisons.items():
        places = [place for place, row in enumerate(competitors) if row.group == group]
        sides = [competitors[place].side for place in places]
        own = _marks_of_group(sides, metric=metric, compared=compared, winners=winners)
        for place, mark in zip(places, own, strict=True):
            marks[place] = mark
    return tuple(marks)


def _marks_of_group(
    sides: Sequence[Side], *, metric: str, compared: Sequence[PairwiseComparison], winners: Collection[Winner]
) -> tuple[Mark, ...]:
    """Return the marks of comparable masks; a mask without a value has none."""
    best = compared[0].reference
    if best.item.objective.selects_on_validation and metric == best.item.objective.metric:
        return (Mark.NONE,) * len(sides)
    tests = _distinct(compared, winners)
    means = {side.identity: mean.mean for side in sides if (mean := side.estimate(metric)) is not None}
    direction = direction_of(metric, objective=best.item.objective)
    own = group_marks(list(means.values()), direction=direction, is_distinct=[tests.get(key) for key in means])
    marks = dict(zip(means, own, strict=True))
    return tuple(marks.get(side.identity, Mark.NONE) for side in sides)


def _distinct(
    compared: Sequence[PairwiseComparison], winners: Collection[Winner]
) -> dict[tuple[str | bool, ...], bool | None]:
    """Return for each mask whether a test separates it from the best; where some are found better, from these."""
    best, metric = compared[0].reference, compared[0].metric
    tests = {item.side.identity: item.is_distinct for item in compared}
    better = {item.side.identity for item in compared if item.is_better and item.is_ahead}
    if better:
        return {key: key not in better for key in (best.identity, *tests)}
    return tests | dict.fromkeys((key for key in _undecided(best, metric, winners) if tests.get(key)), False)


def configuration_marks(
    items: Sequence[Configuration], *, metrics: Sequence[str], evidence: MarkEvidence = ONLY_SEEDS
) -> dict[str, tuple[Mark, ...]]:
    """Return the marks of configurations, metric by metric; the dense model and means that lack a seed have none."""
    competitors = [Competitor(Side(item), competing_group(item)) for item in items]
    compared = compared_with_best(competitors, metrics=metrics, evaluations=evidence.evaluations)
    return {
        metric: marks_of(competitors, metric=metric, comparisons=compared[metric], winners=evidence.winners)
        for metric in metrics
    }


def _undecided(best: Side, metric: str, winners: Collection[Winner]) -> set[tuple[str | bool, ...]]:
    """Return the masks that the winner's tests do not find worse, if the best of the table is the best of a search."""
    if metric != best.item.objective.reported:
        return set()
    own = [winner for winner in winners if Side(winner.best).identity == best.identity]
    return {Side(other.item).identity for winner in own for other in winner.undecided}


def _rounded(mean: float) -> float:
    return float(f"{mean:.{DIGITS}g}")

"""Whether a group of searched configurations has a winner: the best against every other one, corrected.

The best is chosen by the searched metric, on the seeds that it is tested on: by the same numbers, or, where the study
has validation text, by those of another text. Luck of the seeds is in both, so the same correction holds. A winner is
therefore named only where the tests against **all** others that ran to the end find it better, with Holm's correction
over every configuration of the search. With equal configurations that is wrong in at most 5% of searches; the worst
case is two equal ones far ahead of the rest (Gutmann and Maymin, "Is the selected population the best?", Annals of
Statistics 1987). Configurations stopped early count in the correction, since the search chose among them too.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from nmlab.reports.analysis.configurations import Configuration, best_of, groups_of, searched
from nmlab.reports.analysis.metrics import direction_of, is_compared_by_ratio, is_counted
from nmlab.reports.analysis.pairwise.comparison import PairwiseComparison, pairwise_comparisons
from nmlab.reports.analysis.pairwise.partial import (
    Partial,
    at_last_common_step,
    at_the_end,
)
from nmlab.reports.analysis.pairwise.side import Side
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.read.histories import Curves
from nmlab.reports.statistics import LEVEL, SideComparison, holm
from nmlab.reports.values import Direction


class Completion(StrEnum):
    """How far a configuration got."""

    COMPLETE = "ran to the end"
    LACKS_RUNS = "lacks runs"
    STOPPED_EARLY = "stopped early"


@dataclass(frozen=True)
class OtherConfiguration:
    """Another configuration of the search against the best.

    Attributes:
        comparison: of complete ones, as in other tables; ``p_adjusted`` there is Holm's.
        partial: of incomplete ones, the comparison on what both have in common.
        p_adjusted: Holm's over all other configurations; 1 where there is no test.
        is_better: whether it looks better than the best: an incomplete one on what both have, in the metric that
            selects or the one that is reported; a complete one in the reported metric, where another one selects.
    """

    item: Configuration
    completion: Completion
    comparison: PairwiseComparison | None
    partial: Partial | None
    p_adjusted: float
    is_better: bool

    @property
    def decisive(self) -> SideComparison | None:
        """The deciding test; None where there is none."""
        if self.partial is not None:
            return self.partial.comparison
        return self.comparison.decisive if self.comparison is not None else None

    @property
    def stated(self) -> SideComparison | None:
        """The deciding test as tables state it: as a ratio where it was made on the log scale."""
        found, metric = self.decisive, self.item.objective.reported
        return found.as_ratio() if found is not None and is_compared_by_ratio(metric) else found

    @property
    def is_tested(self) -> bool:
        """Whether there is a test with a p-value."""
        return self.decisive is not None and self.decisive.p_value is not None

    @property
    def is_worse(self) -> bool:
        """Whether the test finds it worse than the best, after correction."""
        return self.p_adjusted < LEVEL and not self.is_better


@dataclass(frozen=True)
class Winner:
    """The best searched configuration of a group, and all others compared with it.

    Attributes:
        best: the complete configuration with the best mean of the searched metric; an incomplete one where none is
            complete.
        against_all: every other configuration of the search that has a value and breaks no constraint, best first.
    """

    group: Hashable
    best: Configuration
    against_all: tuple[OtherConfiguration, ...]

    @property
    def complete(self) -> tuple[OtherConfiguration, ...]:
        """The others that ran to the end."""
        return tuple(item for item in self.against_all if item.completion is Completion.COMPLETE)

    @property
    def runner_up(self) -> OtherConfiguration | None:
        """The best of the others that ran to the end."""
        return next(iter(self.complete), None)

    @property
    def undecided(self) -> tuple[OtherConfiguration, ...]:
        """The others that ran to the end and are not separable from the best."""
        return tuple(item for item in self.complete if not item.is_worse)

    @property
    def better_but_not_selected(self) -> tuple[OtherConfiguration, ...]:
        """The others that ran to the end with a better mean of the reported metric, which did not select."""
        return tuple(item for item in self.complete if item.is_better)

    @property
    def better_but_incomplete(self) -> tuple[OtherConfiguration, ...]:
        """The others that look better on what both have, but did not run to the end."""
        return tuple(item for item in self.against_all if item.completion is not Completion.COMPLETE and item.is_better)

    @property
    def is_claimed(self) -> bool:
        """Whether the best is a winner: all others that ran to the end are worse, or else all at their last steps.

        There is none if a configuration that lacks runs looks better; one that was stopped early does not count here.
        """
        if not self.best.is_complete or not self.against_all:
            return False
        if any(item.completion is Completion.LACKS_RUNS for item in self.better_but_incomplete):
            return False
        return all(item.is_worse for item in self.complete or self.against_all)


def winners_of(
    configurations: Sequence[Configuration], *, evaluations: Mapping[str, RunEvaluation], progress: Curves
) -> dict[Hashable, Winner]:
    """Return the best searched configuration of each group of comparable ones, compared with all others.

    Args:
        configurations: of one launch, best first.
        evaluations: losses by window, by run id, of configurations without training noise.
        progress: the searched metric of each run by step.
    """
    found: dict[Hashable, Winner] = {}
    for group, members in groups_of(searched(configurations)).items():
        best = best_of(members)
        if best is not None:
            found[group] = Winner(group, best, _rest(best, members=members, evaluations=evaluations, progress=progress))
    return found


def _rest(
    best: Configuration,
    *,
    members: Sequence[Configuration],
    evaluations: Mapping[str, RunEvaluation],
    progress: Curves,
) -> tuple[OtherConfiguration, ...]:
    metric = best.objective.reported
    others = [item for item in members if item is not best and not item.breaks_constraint]
    whole = [item for item in others if item.is_complete and item.value is not None]
    comparisons = pairwise_comparisons(
        Side(best), others=[Side(item) for item in whole], metric=metric, evaluations=evaluations
    )
    is_elsewhere = best.objective.selects_on_validation
    rest = [
        OtherConfiguration(item, Completion.COMPLETE, own, None, 1.0, is_elsewhere and own.is_ahead)
        for item, own in zip(whole, comparisons, strict=True)
    ]
    unfinished = [item for item in others if not item.is_complete]
    rest += [found for item in unfinished if (found := _incomplete(item, best=best, progress=progress)) is not None]
    p_values = holm([_p_value(item, best) for item in rest])
    return tuple(_with_p_value(item, p) for item, p in zip(rest, p_values, strict=True))


def _incomplete(item: Configuration, *, best: Configuration, progress: Curves) -> OtherConfiguration | None:
    """Return an incomplete configuration compared with the best; None where it has no known value."""
    objective = best.objective
    partial = at_the_end(item, best=best, metric=objective.reported)
    completion = Completion.STOPPED_EARLY if item.pruned else Completion.LACKS_RUNS
    if completion is Completion.STOPPED_EARLY and item.value is None:
        partial = at_last_common_step(item, best=best, metric=objective.metric, progress=progress)
    elif item.value is None:
        return None
    difference = partial.difference if partial.own else _difference(item, best)
    selecting = at_the_end(item, best=best, metric=objective.metric).difference
    is_better = any(_gain(item, objective.reported, apart) > 0 for apart in (difference, selecting))
    return OtherConfiguration(item, completion, None, partial, 1.0, is_better)


def _difference(item: Configuration, best: Configuration) -> float:
    own, other = item.value, best.value
    return math.nan if own is None or other is None else own.mean - other.mean


def _gain(item: Configuration, metric: str, difference: float) -> float:
    """Return a difference with the sign that is positive for better; NaN stays NaN."""
    higher = direction_of(metric, objective=item.objective) is Direction.HIGHER
    return difference if higher else -difference


def _p_value(other: OtherConfiguration, best: Configuration) -> float | None:
    """Return the p-value of the other being as good as the best; counts differ or not, so theirs is 0 or 1."""
    metric = best.objective.reported
    if is_counted(metric) and other.comparison is not None:
        return 0.0 if other.comparison.difference else 1.0
    decisive = other.decisive
    if decisive is None or decisive.p_value is None:
        return None
    return decisive.p_value if _gain(best, metric, decisive.difference) < 0 else 1.0


def _with_p_value(other: OtherConfiguration, p_value: float) -> OtherConfiguration:
    comparison = other.comparison
    if comparison is not None and comparison.p_adjusted is not None:
        comparison = replace(comparison, p_adjusted=p_value)
    return replace(other, comparison=comparison, p_adjusted=p_value)

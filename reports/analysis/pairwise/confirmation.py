"""What fresh seeds say about a search: the configuration that it selected against the other finalists and the rules.

Finalists are the configurations that were run again on seeds that took no part in the search. The search selected its
best before, so nothing is chosen by the fresh runs, and their means are not biased by the selection. Finalists share
the fresh seeds and are compared in pairs.

The mean of the search and the mean over fresh seeds are of different seeds, mostly of a different number of them. Their
difference is not tested like that of two samples, because the seeds of a selected configuration are no random sample:
that is what the difference shows. The mean of the search is taken as the number that it is, and the interval of the
difference is that of the mean over fresh seeds (Student's t). It covers the true difference however the search
selected.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from nmlab.reports.analysis.configurations import Configuration, baselines, best_of, groups_of, searched
from nmlab.reports.analysis.pairwise.comparison import PairwiseComparison, pairwise_comparisons
from nmlab.reports.analysis.pairwise.side import Side
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.statistics import MeanEstimate, holm


class FreshVerdict(StrEnum):
    """What fresh seeds say about the configuration that the search selected."""

    BETTER = "better than all other finalists"
    NO_DIFFERENCE = "no difference that this study could see"
    UNDECIDED = "not separable from some finalists"
    ANOTHER = "another finalist is better"
    UNTESTED = "not tested"


@dataclass(frozen=True)
class Confirmed:
    """The best configuration of a search on fresh seeds.

    Attributes:
        best: what the search selected, by its own means alone.
        finalists: the configurations that were run again, in the order of the search; the best is one of them.
        others: the other finalists that finished on fresh seeds against the best; ``p_adjusted`` is Holm's.
        compared: these and the baselines against the best, adjusted as in the table of the summary. Baselines that
            depend on the seed stand with their fresh seeds.
    """

    best: Configuration
    finalists: tuple[Configuration, ...]
    others: tuple[PairwiseComparison, ...]
    compared: tuple[PairwiseComparison, ...]

    @property
    def lost(self) -> tuple[Configuration, ...]:
        """The finalists of which no run on fresh seeds finished."""
        return tuple(item for item in self.finalists if not item.is_confirmed)

    @property
    def ahead(self) -> tuple[PairwiseComparison, ...]:
        """The other finalists whose mean over fresh seeds is better."""
        return tuple(item for item in self.others if item.is_ahead)

    @property
    def better(self) -> tuple[PairwiseComparison, ...]:
        """The other finalists that the tests find better."""
        return tuple(item for item in self.others if item.is_better)

    @property
    def undecided(self) -> tuple[PairwiseComparison, ...]:
        """The other finalists that the tests do not separate from the best."""
        return tuple(item for item in self.others if not item.is_separated)

    @property
    def verdict(self) -> FreshVerdict:
        """The result of the tests: in pairs over fresh seeds at 5%, corrected after Holm over the other finalists."""
        if self.better:
            return FreshVerdict.ANOTHER
        if all(item.is_separated is None for item in self.others):
            return FreshVerdict.UNTESTED
        if not self.undecided:
            return FreshVerdict.BETTER
        is_none = len(self.undecided) == len(self.others)
        return FreshVerdict.NO_DIFFERENCE if is_none else FreshVerdict.UNDECIDED


def confirmed_of(
    configurations: Sequence[Configuration], *, evaluations: Mapping[str, RunEvaluation]
) -> dict[Hashable, Confirmed]:
    """Return what fresh seeds say about the best of each group; groups whose best did not finish on any have no entry.

    Args:
        configurations: of one launch, best first.
        evaluations: losses by window, by run id, of configurations without training noise.
    """
    found: dict[Hashable, Confirmed] = {}
    for group, members in groups_of(configurations).items():
        best = best_of(searched(members))
        if best is not None and best.is_confirmed:
            found[group] = _confirmed(best, members=members, evaluations=evaluations)
    return found


def optimism_of(item: Configuration) -> MeanEstimate | None:
    """Return the reported mean of the search minus that over fresh seeds, with the interval of the latter.

    None without both.
    """
    own, fresh = item.value, item.as_reported.value
    if own is None or fresh is None or not item.is_confirmed:
        return None
    low, high = (None if end is None else own.mean - end for end in (fresh.high, fresh.low))
    return MeanEstimate(own.mean - fresh.mean, low, high, fresh.n)


def _confirmed(
    best: Configuration, *, members: Sequence[Configuration], evaluations: Mapping[str, RunEvaluation]
) -> Confirmed:
    metric, reference = best.objective.reported, Side(best.as_reported)
    finalists = tuple(item for item in searched(members) if item.confirmation is not None)
    others = [Side(item.as_reported) for item in finalists if item is not best and item.is_confirmed]
    rules = [
        Side(item.as_reported) for item in baselines(members) if item.is_complete and item.as_reported.value is not None
    ]
    compared = pairwise_comparisons(reference, others=[*others, *rules], metric=metric, evaluations=evaluations)
    return Confirmed(best, finalists, _corrected(compared[: len(others)]), compared)


def _corrected(comparisons: Sequence[PairwiseComparison]) -> tuple[PairwiseComparison, ...]:
    """Return the comparisons with the p-values of Holm over all of them; what has no test keeps none."""
    decisive = [item.decisive for item in comparisons]
    p_values = holm([None if test is None else test.p_value for test in decisive])
    return tuple(
        item if item.p_adjusted is None else replace(item, p_adjusted=p_value)
        for item, p_value in zip(comparisons, p_values, strict=True)
    )

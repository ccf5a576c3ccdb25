"""The leader of each group of comparable masks, its runner-up, and what cannot be told from it.

This is what the first screen of a report says. It decides nothing anew: it takes the tests on fresh seeds where the
best ran again, else those of the winner of the search, else those of the summary.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nmlab.reports.analysis.configurations import Configuration, baselines, best_of, groups_of, searched
from nmlab.reports.analysis.metrics import is_compared_by_ratio, is_counted
from nmlab.reports.analysis.pairwise import (
    Confirmed,
    FreshVerdict,
    OtherConfiguration,
    PairwiseComparison,
    Side,
    Winner,
    pairwise_comparisons,
    untested_reason,
)
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.statistics import SideComparison


class Standing(StrEnum):
    """How the leader stands to the others that it was chosen from."""

    BEST = "better than all others"
    NOT_SEPARABLE = "no difference that this study could see"
    SOME_NOT_SEPARABLE = "not separable from some others"
    ANOTHER = "another one is better"
    DOUBTED = "one that lacks runs looks better"
    INCOMPLETE = "lacks runs itself"
    UNTESTED = "not tested"
    ALONE = "the only one"
    BASELINE = "nothing searched has a result"


@dataclass(frozen=True, slots=True)
class Rival:
    """Another configuration against the leader: its difference as tables state it, and the corrected p-value.

    ``difference`` is the other minus the leader, or their ratio; None where nothing was compared.
    """

    item: Configuration
    difference: SideComparison | None
    p_adjusted: float | None
    reason: str = ""
    detectable: float | None = None
    is_better: bool = False
    is_worse: bool = False

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The finished runs behind its value."""
        return tuple(trial.run_id for trial in self.item.finished)

    def has_better_mean(self, other: Configuration) -> bool:
        """Return whether its mean is better than that of another configuration."""
        if self.item.value is None or other.value is None:
            return False
        is_lower = self.item.value.mean < other.value.mean
        return is_lower if other.objective.mode == "min" else self.item.value.mean > other.value.mean


@dataclass(frozen=True, slots=True)
class Leader:
    """The best configuration of a group, as the search or the summary selects it.

    Attributes:
        best: the selected configuration; ``shown`` are the runs that it is reported by.
        standing: against the others that it was selected from.
        runner_up: the next one of those: by its mean on fresh seeds where these decide, else as it was selected.
        others: how many others ``standing`` is about.
        undecided: all of them that cannot be told from the leader.
        rules: every baseline mask against the leader, the best first; empty where the leader is one itself.
        tried: the configurations of the group that were searched.
        is_fresh: whether ``standing`` rests on fresh seeds.
    """

    best: Configuration
    standing: Standing
    runner_up: Rival | None
    others: int
    undecided: tuple[Configuration, ...]
    rules: tuple[Rival, ...]
    tried: tuple[Configuration, ...]
    is_fresh: bool

    @property
    def shown(self) -> Configuration:
        """The runs that the leader is reported by."""
        return self.best.as_reported

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that were searched."""
        return tuple(dict.fromkeys(item.method for item in self.tried))

    @property
    def is_selected(self) -> bool:
        """Whether it means something that it was selected: not where nothing differs, or nothing was searched."""
        return self.standing not in (Standing.NOT_SEPARABLE, Standing.UNTESTED, Standing.ALONE, Standing.BASELINE)

    @property
    def is_beaten(self) -> bool:
        """Whether a baseline is better than the leader."""
        return any(rule.is_better for rule in self.rules)

    @property
    def is_ratio(self) -> bool:
        """Whether differences are ratios."""
        return is_compared_by_ratio(self.best.objective.reported)


def leaders_of(
    configurations: Sequence[Configuration],
    *,
    winners: Mapping[Hashable, Winner],
    confirmed: Mapping[Hashable, Confirmed],
    compared: Mapping[Hashable, Sequence[PairwiseComparison]],
    evaluations: Mapping[str, RunEvaluation],
) -> tuple[Leader, ...]:
    """Return the leader of each group in which a mask has a result.

    Args:
        configurations: of one launch, best first.
        winners: the best of each group against all others of the search.
        confirmed: the best of each group on fresh seeds, where there are any.
        compared: the masks of the report against the best of their group, whose p-values hold for baselines here too.
        evaluations: losses by window by run id, as far as read.
    """
    found = []
    for group, members in groups_of(configurations).items():
        best = best_of(searched(members)) if group in winners else best_of(baselines(members))
        if best is not None:
            rules = _rules(best, members, compared.get(group, ()), evaluations)
            found.append(
                _leader(
                    best,
                    members,
                    rules,
                    winner=winners.get(group),
                    confirmed=confirmed.get(group),
                    evaluations=evaluations,
                )
            )
    return tuple(found)


def _leader(
    best: Configuration,
    members: Sequence[Configuration],
    rules: tuple[Rival, ...],
    *,
    winner: Winner | None,
    confirmed: Confirmed | None,
    evaluations: Mapping[str, RunEvaluation],
) -> Leader:
    tried = searched(members)
    if winner is None:
        return Leader(best, Standing.BASELINE, next(iter(rules), None), len(rules), (), rules, tried, False)
    if confirmed is not None and confirmed.others:
        return _of_fresh(confirmed, rules=rules, tried=tried, evaluations=evaluations)
    return _of_search(winner, rules=rules, tried=tried, evaluations=evaluations)


def _of_fresh(
    found: Confirmed,
    *,
    rules: tuple[Rival, ...],
    tried: tuple[Configuration, ...],
    evaluations: Mapping[str, RunEvaluation],
) -> Leader:
    standing = {
        FreshVerdict.BETTER: Standing.BEST,
        FreshVerdict.NO_DIFFERENCE: Standing.NOT_SEPARABLE,
        FreshVerdict.UNDECIDED: Standing.SOME_NOT_SEPARABLE,
        FreshVerdict.ANOTHER: Standing.ANOTHER,
        FreshVerdict.UNTESTED: Standing.UNTESTED,
    }[found.verdict]
    if is_counted(found.best.objective.reported):
        standing = Standing.BEST if not found.ahead else Standing.ANOTHER
    keys = {own.side.item.key for own in found.undecided}
    return Leader(
        best=found.best,
        standing=standing,
        runner_up=_rival(_first([*(found.better or found.others)]), evaluations),
        others=len(found.others),
        undecided=tuple(item for item in found.finalists if item.key in keys),
        rules=rules,
        tried=tried,
        is_fresh=True,
    )


def _of_search(
    winner: Winner,
    *,
    rules: tuple[Rival, ...],
    tried: tuple[Configuration, ...],
    evaluations: Mapping[str, RunEvaluation],
) -> Leader:
    others = winner.complete or winner.against_all
    runner_up = next(iter(others), None)
    return Leader(
        best=winner.best,
        standing=_standing(winner),
        runner_up=None if runner_up is None else _rival_of_search(runner_up, evaluations),
        others=len(others),
        undecided=tuple(other.item for other in winner.undecided),
        rules=rules,
        tried=tried,
        is_fresh=False,
    )


def _standing(winner: Winner) -> Standing:
    if winner.is_claimed:
        return Standing.BEST
    if not winner.best.is_complete:
        return Standing.INCOMPLETE
    if not winner.against_all:
        return Standing.ALONE
    if winner.complete and not winner.undecided:
        return Standing.DOUBTED
    others = winner.complete or winner.against_all
    if not any(other.is_tested for other in others) and not is_counted(winner.best.objective.reported):
        return Standing.UNTESTED
    return Standing.SOME_NOT_SEPARABLE if any(other.is_worse for other in others) else Standing.NOT_SEPARABLE


def _rules(
    best: Configuration,
    members: Sequence[Configuration],
    compared: Sequence[PairwiseComparison],
    evaluations: Mapping[str, RunEvaluation],
) -> tuple[Rival, ...]:
    """Return every complete baseline mask against the best, the best mean first.

    Where the tables compare with another mask than the best of the search, the baselines are tested here.
    """
    own = [item for item in compared if item.side.item.is_baseline and not item.side.is_initial]
    if not any(item.reference.item is best.as_reported for item in own):
        items = [item for item in baselines(members) if item is not best and item.is_complete and item.value]
        sides = [Side(item.as_reported) for item in items if item.as_reported.value is not None]
        metric, reference = best.objective.reported, Side(best.as_reported)
        own = list(pairwise_comparisons(reference, others=sides, metric=metric, evaluations=evaluations))
    found = [_rival(item, evaluations) for item in _by_mean(own)]
    return tuple(item for item in found if item is not None)


def _by_mean(compared: Sequence[PairwiseComparison]) -> list[PairwiseComparison]:
    """Return comparisons by the mean of the other side, the best first."""

    def loss(item: PairwiseComparison) -> float:
        own = item.side.item.value
        assert own is not None
        return own.mean if item.side.item.objective.mode == "min" else -own.mean

    return sorted(compared, key=loss)


def _first(compared: Sequence[PairwiseComparison]) -> PairwiseComparison | None:
    return next(iter(_by_mean([item for item in compared if item.side.item.value is not None])), None)


def _rival(found: PairwiseComparison | None, evaluations: Mapping[str, RunEvaluation]) -> Rival | None:
    if found is None:
        return None
    return Rival(
        found.side.item,
        found.as_stated(found.decisive),
        found.p_adjusted,
        reason=untested_reason(found, evaluations=evaluations),
        detectable=found.detectable,
        is_better=found.is_better,
        is_worse=bool(found.is_separated) and not found.is_better,
    )


def _rival_of_search(other: OtherConfiguration, evaluations: Mapping[str, RunEvaluation]) -> Rival:
    found, stated = other.comparison, other.stated
    return Rival(
        other.item,
        stated,
        other.p_adjusted if other.is_tested else None,
        reason="" if found is None else untested_reason(found, evaluations=evaluations),
        detectable=None if stated is None else stated.detectable,
        is_worse=other.is_worse,
    )

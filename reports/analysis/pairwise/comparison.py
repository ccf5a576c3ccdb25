"""Pairwise comparisons: each of several sides against one reference, tested and corrected."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from nmlab.reports.analysis.metrics import direction_of, is_compared_by_ratio, is_counted
from nmlab.reports.analysis.pairwise.evaluation import evaluation_comparisons
from nmlab.reports.analysis.pairwise.side import Side
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.statistics import (
    LEVEL,
    Noise,
    SideComparison,
    adjusted,
    compare_constant,
    compare_paired,
)
from nmlab.trials.contract.measures import Direction


@dataclass(frozen=True)
class PairwiseComparison:
    """One side minus the reference.

    Perplexities are compared on the log scale, where their noise is additive: the exponential of a comparison is the
    ratio of geometric means. Other metrics are compared on their own scale.

    Attributes:
        training: over seeds; None where neither side was trained over several seeds.
        evaluation: over windows, in nats a token, of perplexities (its exponential is a ratio too); over questions, of
            measures of tasks.
        p_adjusted: of the decisive comparison, over the tests of the same kind of noise in the table.
    """

    side: Side
    reference: Side
    metric: str
    training: SideComparison | None
    evaluation: SideComparison | None
    p_adjusted: float | None = None

    @property
    def decisive(self) -> SideComparison | None:
        """The comparison that the verdict rests on: training noise where it was measured, else evaluation noise."""
        if self.training is not None and self.training.p_value is not None:
            return self.training
        if self.side.has_training_noise or self.reference.has_training_noise:
            return None
        return self.evaluation

    @property
    def is_separated(self) -> bool | None:
        """Whether the decisive test separates the sides after correction; None where there is no test."""
        return None if self.p_adjusted is None else self.p_adjusted < LEVEL

    @property
    def is_distinct(self) -> bool | None:
        """Whether the side is known to differ: by its test, or because the metric is counted; None where untested."""
        return True if self.is_separated is None and is_counted(self.metric) else self.is_separated

    @property
    def is_better(self) -> bool:
        """Whether the test finds the side better than the reference; false where it finds it worse, or nothing."""
        return bool(self.is_separated) and self.decisive is not None and self._is_gain(self.decisive.difference)

    @property
    def is_ahead(self) -> bool:
        """Whether the mean of the side is the better one, as it can be where another text or other seeds selected."""
        own, other = (one.estimate(self.metric) for one in (self.side, self.reference))
        return own is not None and other is not None and self._is_gain(own.mean - other.mean)

    def _is_gain(self, difference: float) -> bool:
        higher = direction_of(self.metric, objective=self.side.item.objective) is Direction.HIGHER
        return difference > 0 if higher else difference < 0

    @property
    def is_ratio(self) -> bool:
        """Whether the comparisons are on the log scale, so that their exponentials are ratios."""
        return is_compared_by_ratio(self.metric)

    def as_stated(self, found: SideComparison | None) -> SideComparison | None:
        """Return one of the comparisons as tables state it: as a ratio where it was made on the log scale."""
        return found.as_ratio() if found is not None and self.is_ratio else found

    @property
    def detectable(self) -> float | None:
        """The smallest true difference, or ratio, that such a study detects: over seeds, else by the deciding test."""
        found = self.as_stated(self.training if self.training is not None else self.decisive)
        return None if found is None else found.detectable

    @property
    def difference(self) -> float:
        """The difference of the means over the seeds that both sides have; NaN where a side has none."""
        own, other = self.side.values(self.metric), self.reference.values(self.metric)
        seeds = [seed for seed in own if seed in other] if len(own) > 1 and len(other) > 1 else []
        if seeds:
            own, other = {seed: own[seed] for seed in seeds}, {seed: other[seed] for seed in seeds}
        return _mean(own.values()) - _mean(other.values())


def pairwise_comparisons(
    reference: Side, *, others: Sequence[Side], metric: str, evaluations: Mapping[str, RunEvaluation]
) -> tuple[PairwiseComparison, ...]:
    """Compare every side with the reference; the p-values are adjusted over these comparisons.

    Args:
        reference: the side that the others are compared with.
        others: comparable sides (same pattern, model and evaluation text), as the caller ensures.
        metric: the metric to compare.
        evaluations: by run id; runs that are missing here have no evaluation noise.
    """
    repeated = evaluation_comparisons(reference, others=others, metric=metric, evaluations=evaluations)
    found = [
        PairwiseComparison(side, reference, metric, _training(side, reference, metric), repeated.get(place))
        for place, side in enumerate(others)
    ]
    return adjusted_together(found)


def adjusted_together(comparisons: Sequence[PairwiseComparison]) -> tuple[PairwiseComparison, ...]:
    """Return the comparisons with p-values adjusted over all of them, separately for each kind of noise."""
    result = list(comparisons)
    for noise in Noise:
        places = [place for place, item in enumerate(comparisons) if item.decisive and item.decisive.noise is noise]
        decisive = [comparisons[place].decisive for place in places]
        values = adjusted([item.p_value if item is not None else None for item in decisive])
        for place, value in zip(places, values, strict=True):
            result[place] = replace(comparisons[place], p_adjusted=value)
    return tuple(result)


def over_seeds(
    own: Mapping[int, float], *, reference: Mapping[int, float], has_noise: tuple[bool, bool], is_ratio: bool
) -> SideComparison | None:
    """Compare values by seed: in pairs where both sides were trained, and a value without a seed as a constant.

    Args:
        own: the values of one side.
        reference: the values of the other.
        has_noise: for each of the two whether its values vary between seeds.
        is_ratio: whether to compare on the log scale.
    """
    first, second = ((_logs(side) if is_ratio else side) for side in (own, reference))
    if not first or not second or not any(has_noise):
        return None
    if not has_noise[1]:
        return compare_constant(list(first.values()), constant=_mean(second.values()))
    if not has_noise[0]:
        return compare_constant([-value for value in second.values()], constant=-_mean(first.values()))
    seeds = [seed for seed in first if seed in second]
    return compare_paired([first[seed] for seed in seeds], second=[second[seed] for seed in seeds]) if seeds else None


def _training(side: Side, reference: Side, metric: str) -> SideComparison | None:
    has_noise = (side.has_training_noise, reference.has_training_noise)
    own, other = side.values(metric), reference.values(metric)
    return over_seeds(own, reference=other, has_noise=has_noise, is_ratio=is_compared_by_ratio(metric))


def _logs(values: Mapping[int, float]) -> dict[int, float]:
    return {seed: math.log(value) for seed, value in values.items() if value > 0}


def _mean(values: Collection[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan

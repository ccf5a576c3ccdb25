"""Pairwise comparisons: each of several sides against one reference, tested and corrected."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from nmlab.reports.analysis.metrics import is_compared_by_ratio
from nmlab.reports.analysis.pairwise.evaluation import evaluation_comparisons
from nmlab.reports.analysis.pairwise.side import Side
from nmlab.reports.read.evaluations import Evaluation
from nmlab.reports.statistics import (
    Comparison,
    Noise,
    adjusted,
    compare_constant,
    compare_paired,
)


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
    training: Comparison | None
    evaluation: Comparison | None
    p_adjusted: float | None = None

    @property
    def decisive(self) -> Comparison | None:
        """The comparison that the verdict rests on: training noise where it was measured, else evaluation noise."""
        if self.training is not None and self.training.p_value is not None:
            return self.training
        if self.side.has_training_noise or self.reference.has_training_noise:
            return None
        return self.evaluation

    @property
    def is_separated(self) -> bool | None:
        """Whether the decisive test separates the sides after correction; None where there is no test."""
        return None if self.p_adjusted is None else self.p_adjusted < 0.05

    @property
    def is_ratio(self) -> bool:
        """Whether the comparisons are on the log scale, so that their exponentials are ratios."""
        return is_compared_by_ratio(self.metric)

    @property
    def difference(self) -> float:
        """The difference of the means over the seeds that both sides have; NaN where a side has none."""
        own, other = self.side.values(self.metric), self.reference.values(self.metric)
        seeds = [seed for seed in own if seed in other] if len(own) > 1 and len(other) > 1 else []
        if seeds:
            own, other = {seed: own[seed] for seed in seeds}, {seed: other[seed] for seed in seeds}
        return _mean(own.values()) - _mean(other.values())


def pairwise_comparisons(
    reference: Side, *, others: Sequence[Side], metric: str, evaluations: Mapping[str, Evaluation]
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


def _training(side: Side, reference: Side, metric: str) -> Comparison | None:
    """Compare over seeds: pairs where both were trained, and a value without a seed as a constant."""
    own, other = _comparable(side, metric), _comparable(reference, metric)
    if not own or not other or not (side.has_training_noise or reference.has_training_noise):
        return None
    if not reference.has_training_noise:
        return compare_constant(list(own.values()), constant=_mean(other.values()))
    if not side.has_training_noise:
        return compare_constant([-value for value in other.values()], constant=-_mean(own.values()))
    seeds = [seed for seed in own if seed in other]
    return compare_paired([own[seed] for seed in seeds], second=[other[seed] for seed in seeds]) if seeds else None


def _comparable(side: Side, metric: str) -> dict[int, float]:
    """Return a side's values by seed on the scale on which they are compared."""
    values = side.values(metric)
    if not is_compared_by_ratio(metric):
        return values
    return {seed: math.log(value) for seed, value in values.items() if value > 0}


def _mean(values: Collection[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan

"""The test of a pair: the second configuration minus the first, over seeds, windows or questions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from nmlab.reports.analysis.metrics import direction_of, is_compared_by_ratio, is_counted, is_of_task
from nmlab.reports.analysis.pairwise import PairwiseComparison, Side, adjusted_together, over_seeds, untested_reason
from nmlab.reports.analysis.pairwise.evaluation import evaluation_comparisons
from nmlab.reports.analysis.two_sides.matching import MatchedPair
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.statistics import Noise, SideComparison, compare_unpaired
from nmlab.trials.contract.measures import Direction


class SeedTest(StrEnum):
    """The test over seeds that was used."""

    PAIRED = "paired t-test"
    WELCH = "Welch's t-test"
    ONE_SAMPLE = "one-sample t-test"


Finding = Literal["better", "worse", "higher", "lower", "not separable", "equal", "not tested"]
"""What is found of the second side, seen from the first."""


@dataclass(frozen=True, slots=True)
class PairResult:
    """A pair in one metric.

    Attributes:
        pair: the two configurations.
        comparison: the second against the first as the reference; its p-value is adjusted over all pairs of a metric.
        seed_test: the test over seeds; None where the pair was not tested over seeds.
        why_untested: why there is no test; empty where there is one, or none is needed.
    """

    pair: MatchedPair
    comparison: PairwiseComparison
    seed_test: SeedTest | None
    why_untested: str

    @property
    def metric(self) -> str:
        """The compared metric."""
        return self.comparison.metric

    @property
    def is_counted(self) -> bool:
        """Whether the values are counted, so that any difference is one."""
        return is_counted(self.metric)

    @property
    def values(self) -> tuple[Mapping[int, float], Mapping[int, float]]:
        """The values of each side by seed."""
        return self.comparison.reference.values(self.metric), self.comparison.side.values(self.metric)

    @property
    def shared_seeds(self) -> tuple[int, ...]:
        """The seeds that are compared in pairs; empty for any test but that of pairs."""
        first, second = self.values
        return tuple(seed for seed in first if seed in second) if self.seed_test is SeedTest.PAIRED else ()

    @property
    def difference(self) -> float:
        """The second mean minus the first: over the shared seeds where these are compared, else over all."""
        first, second = self.values
        seeds = self.shared_seeds
        ends = [[side[seed] for seed in seeds] if seeds else list(side.values()) for side in (second, first)]
        own, other = (math.fsum(end) / len(end) for end in ends)
        return own - other

    @property
    def decisive(self) -> SideComparison | None:
        """The deciding comparison as tables state it: a ratio for perplexities, else a difference."""
        return self.comparison.as_stated(self.comparison.decisive or self.comparison.training)

    @property
    def p_value(self) -> float | None:
        """The p-value of the deciding test before correction; None where there is none."""
        decisive = self.comparison.decisive
        return None if decisive is None else decisive.p_value

    @property
    def detectable(self) -> float | None:
        """The smallest true difference, or ratio, that such a comparison finds in 80% of cases; None where equal."""
        return None if self.is_counted or self.is_equal else self.comparison.detectable

    @property
    def is_equal(self) -> bool:
        """Whether both sides have the same value for every seed, or the same value where there are no seeds."""
        first, second = self.values
        return first == second or (self.difference == 0 and self.is_counted)

    @property
    def finding(self) -> Finding:
        """What is found of the second side."""
        if self.is_equal:
            return "equal"
        decisive, separated = self.comparison.decisive, self.comparison.is_separated
        if not self.is_counted and (decisive is None or separated is None):
            return "not tested"
        if not self.is_counted and not separated:
            return "not separable"
        difference = self.difference if decisive is None else decisive.difference
        direction = direction_of(self.metric, objective=self.pair.second.objective)
        if direction is Direction.NONE:
            return "higher" if difference > 0 else "lower"
        return "better" if (difference > 0) == (direction is Direction.HIGHER) else "worse"

    @property
    def better_side(self) -> int | None:
        """Which side the test finds better, 0 or 1; None where it finds none."""
        return {"better": 1, "worse": 0}.get(self.finding)

    @property
    def by_seed(self) -> tuple[float, ...]:
        """The second minus the first for each shared seed, as the table states differences; empty without pairs."""
        first, second = self.values
        if self.comparison.is_ratio:
            return tuple(second[seed] / first[seed] for seed in self.shared_seeds)
        return tuple(second[seed] - first[seed] for seed in self.shared_seeds)


def compare_pairs(
    pairs: Sequence[MatchedPair], *, metrics: Sequence[str], evaluations: Mapping[str, RunEvaluation]
) -> tuple[PairResult, ...]:
    """Return every pair in every metric that both sides have, metric by metric.

    P-values are adjusted after Benjamini and Hochberg over the pairs of a metric, of all measures of tasks together.

    Args:
        pairs: the pairs.
        metrics: the metrics to compare.
        evaluations: losses by window and outcomes by question of the runs without training noise, by run id.
    """
    families: dict[str, list[PairResult]] = {}
    for metric in metrics:
        family = "tasks" if is_of_task(metric) else metric
        found = [_tested(pair, metric, evaluations) for pair in pairs if _has_values(pair, metric)]
        families.setdefault(family, []).extend(found)
    return tuple(item for family in families.values() for item in _adjusted(family))


def _has_values(pair: MatchedPair, metric: str) -> bool:
    return all(Side(item).values(metric) for item in pair.sides)


def _adjusted(family: Sequence[PairResult]) -> list[PairResult]:
    found = adjusted_together([item.comparison for item in family])
    return [replace(item, comparison=comparison) for item, comparison in zip(family, found, strict=True)]


def _tested(pair: MatchedPair, metric: str, evaluations: Mapping[str, RunEvaluation]) -> PairResult:
    reference, side = Side(pair.first), Side(pair.second)
    if is_counted(metric):
        return PairResult(pair, PairwiseComparison(side, reference, metric, None, None), None, "")
    training, test = _over_seeds(side, reference, metric)
    repeated = None
    if test is None:
        repeated = evaluation_comparisons(reference, others=[side], metric=metric, evaluations=evaluations).get(0)
    found = PairwiseComparison(side, reference, metric, training, repeated)
    return PairResult(pair, found, test, untested_reason(found, evaluations=evaluations))


def _over_seeds(side: Side, reference: Side, metric: str) -> tuple[SideComparison | None, SeedTest | None]:
    """Compare over seeds: in pairs where at least two are shared, after Welch where each side has two of its own."""
    own, other = side.values(metric), reference.values(metric)
    has_noise = (side.has_training_noise, reference.has_training_noise)
    is_ratio = is_compared_by_ratio(metric)
    if all(has_noise) and len(own.keys() & other.keys()) < 2 <= min(len(own), len(other)):
        first, second = ([math.log(v) if is_ratio else v for v in values.values()] for values in (own, other))
        return compare_unpaired(first, second=second), SeedTest.WELCH
    found = over_seeds(own, reference=other, has_noise=has_noise, is_ratio=is_ratio)
    if found is None:
        return None, None
    return found, SeedTest.PAIRED if all(has_noise) else SeedTest.ONE_SAMPLE


def deciding_test(item: PairResult) -> str:
    """Return the deciding test in words: ``paired t-test over 3 shared seeds``, ``permutation test of 32 windows``."""
    first, second = item.values
    if item.is_counted:
        return "counted"
    decisive = item.comparison.decisive
    if decisive is None or decisive.p_value is None:
        return ""
    if decisive.noise is Noise.EVALUATION:
        return f"permutation test over {decisive.n} windows"
    if decisive.noise is Noise.QUESTIONS:
        return f"test over {decisive.n} questions"
    seeds = {
        SeedTest.PAIRED: f"{len(item.shared_seeds)} shared seeds",
        SeedTest.WELCH: f"{len(first)} and {len(second)} seeds",
        SeedTest.ONE_SAMPLE: f"{decisive.n} seeds",
    }
    return f"{item.seed_test} over {seeds[item.seed_test]}" if item.seed_test is not None else ""


def finding_text(item: PairResult) -> str:
    """Return the finding: ``B better``, ``A better``, ``equal``, ``not separable``, ``not tested: ...``."""
    if item.finding == "not tested":
        return f"not tested: {item.why_untested}" if item.why_untested else "not tested"
    if item.finding == "worse":
        return "A better"
    return f"B {item.finding}" if item.finding in ("better", "higher", "lower") else item.finding

"""An incomplete configuration against the best one, compared on common seeds and a common step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.metrics import is_compared_by_ratio
from nmlab.reports.analysis.pairwise.side import Side
from nmlab.reports.read.histories import Curves
from nmlab.reports.statistics import SideComparison, compare_paired


@dataclass(frozen=True)
class Partial:
    """The common part of two configurations: the step, the values of common seeds, and the comparison over them.

    ``step`` is None where final values of the reported metric are compared. At a step it is the searched metric, which
    alone is measured on the way. ``comparison`` is None without a seed in common.
    """

    step: int | None
    own: tuple[float, ...]
    best: tuple[float, ...]
    comparison: SideComparison | None

    @property
    def difference(self) -> float:
        """Mean of the configuration minus that of the best, as measured; NaN without common values."""
        if not self.own:
            return math.nan
        return math.fsum(self.own) / len(self.own) - math.fsum(self.best) / len(self.best)


def at_the_end(item: Configuration, *, best: Configuration, metric: str) -> Partial:
    """Compare final values over the seeds that finished in both."""
    return _partial(metric, Side(item).values(metric), reference=Side(best).values(metric))


def at_last_common_step(item: Configuration, *, best: Configuration, metric: str, progress: Curves) -> Partial:
    """Compare values at the last step at which the common seeds of both configurations were evaluated.

    Args:
        item: a configuration that was stopped early.
        best: the configuration it is compared with.
        metric: what is compared.
        progress: the metric of each run by step.
    """
    own, other = _later_values(item, progress), _later_values(best, progress)
    seeds = [seed for seed in own if seed in other]
    curves = [*(own[seed] for seed in seeds), *(other[seed] for seed in seeds)]
    shared = set.intersection(*(set(curve) for curve in curves)) if curves else set()
    if not shared:
        return Partial(None, (), (), None)
    step = max(shared)
    first, second = ({seed: side[seed][step] for seed in seeds} for side in (own, other))
    return _partial(metric, first, reference=second, step=step)


def _later_values(item: Configuration, progress: Curves) -> dict[int, dict[int, float]]:
    """Return the values of each run after its start, by seed and step."""
    curves = {trial.paired_by: progress[trial.run_id] for trial in item.trials if trial.run_id in progress}
    return {
        seed: {step: value for step, value in curve.by_step.items() if step > 0}
        for seed, curve in curves.items()
        if (curve.step_T > 0).any()
    }


def _partial(
    metric: str, own: Mapping[int, float], *, reference: Mapping[int, float], step: int | None = None
) -> Partial:
    """Compare the finite values of common seeds."""
    seeds = [seed for seed in own if seed in reference and math.isfinite(own[seed]) and math.isfinite(reference[seed])]
    first, second = [own[seed] for seed in seeds], [reference[seed] for seed in seeds]
    is_ratio = is_compared_by_ratio(metric)
    if is_ratio and min((*first, *second), default=0.0) <= 0:
        return Partial(step, tuple(first), tuple(second), None)
    scaled = [[math.log(value) for value in side] if is_ratio else side for side in (first, second)]
    found = compare_paired(scaled[0], second=scaled[1]) if seeds else None
    return Partial(step, tuple(first), tuple(second), found)

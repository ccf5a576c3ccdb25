"""An incomplete configuration against the best one, compared on common seeds and a common step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.pairwise.comparison import PairwiseComparison
from nmlab.reports.analysis.pairwise.side import Side
from nmlab.reports.read.frame import records_of, seed_of
from nmlab.reports.statistics import SideComparison, compare_paired


@dataclass(frozen=True)
class Partial:
    """The common part of two configurations: the step, the values of common seeds, and the comparison over them.

    ``step`` is None where final values are compared; ``comparison`` is None without a seed in common.
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
    return _partial(item, best, metric, None, Side(item).values(metric), Side(best).values(metric))


def at_last_common_step(
    item: Configuration, *, best: Configuration, metric: str, points: Mapping[str, "pd.Series[float]"]
) -> Partial:
    """Compare values at the last step at which the common seeds of both configurations were evaluated.

    Args:
        item: a configuration that was stopped early.
        best: the configuration it is compared with.
        metric: what is compared.
        points: values of the metric by run id, each a series by step.
    """
    own, other = _curves(item, points), _curves(best, points)
    seeds = [seed for seed in own if seed in other]
    curves = [*(own[seed] for seed in seeds), *(other[seed] for seed in seeds)]
    shared = set.intersection(*(set(curve.index) for curve in curves)) if curves else set()
    if not shared:
        return Partial(None, (), (), None)
    step = max(shared)
    at = [{seed: float(side[seed].loc[step]) for seed in seeds} for side in (own, other)]
    return _partial(item, best, metric, int(step), at[0], at[1])


def points_by_run(progress: pd.DataFrame) -> dict[str, "pd.Series[float]"]:
    """Return the finite values of each run by step, without step 0."""
    later = progress[progress["step"] > 0] if len(progress) else progress
    return {
        str(run_id): part.set_index("step")["value"].dropna() for run_id, part in later.groupby("run_id") if len(part)
    }


def is_on_log_scale(item: Configuration, *, metric: str) -> bool:
    """Return whether a metric of a configuration is compared by ratio, on the log scale."""
    return PairwiseComparison(Side(item), Side(item), metric, None, None).is_ratio


def _curves(item: Configuration, points: Mapping[str, "pd.Series[float]"]) -> dict[int, "pd.Series[float]"]:
    rows = records_of(item.trials, columns=["run_id", "seed"])
    return {seed_of(row["seed"]): points[str(row["run_id"])] for row in rows if str(row["run_id"]) in points}


def _partial(
    item: Configuration,
    best: Configuration,
    metric: str,
    step: int | None,
    own: Mapping[int, float],
    other: Mapping[int, float],
) -> Partial:
    seeds = [seed for seed in own if seed in other and math.isfinite(own[seed]) and math.isfinite(other[seed])]
    first, second = [own[seed] for seed in seeds], [other[seed] for seed in seeds]
    is_ratio = is_on_log_scale(item, metric=metric)
    if is_ratio and min((*first, *second), default=0.0) <= 0:
        return Partial(step, tuple(first), tuple(second), None)
    scaled = [[math.log(value) for value in side] if is_ratio else side for side in (first, second)]
    found = compare_paired(scaled[0], second=scaled[1]) if seeds else None
    return Partial(step, tuple(first), tuple(second), found)

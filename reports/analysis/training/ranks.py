"""Rank over time: how early the best configurations were ahead."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from nmlab.reports.analysis.configurations import Configuration, groups_of, searched
from nmlab.reports.analysis.settings import labels_of
from nmlab.reports.read.histories import Curves


@dataclass(frozen=True, slots=True)
class RankLine:
    """One configuration: its rank at each common evaluation, 1 the best; ties share the mean of their places."""

    key: str
    label: str
    ranks: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RanksOverTime:
    """Lines, the final best first, over the steps at which all were evaluated.

    ``agreement`` is Spearman's correlation of the ranks at each step with the last ones; or why there is none.
    """

    steps: tuple[int, ...]
    lines: tuple[RankLine, ...]
    agreement: tuple[float, ...]
    pattern: str = ""
    skipped: str = ""


def ranks_over_time(configurations: Sequence[Configuration], *, progress: Curves) -> RanksOverTime:
    """Return the ranks of the searched configurations of the largest group that were evaluated at the same steps.

    Args:
        configurations: all of a launch.
        progress: the searched metric of each run by step.
    """
    groups = groups_of(item for item in searched(configurations) if item.is_complete and item.is_learned)
    members = max(groups.values(), key=len, default=[])
    means = {item.key: found for item in members if (found := _means(item, progress)) is not None}
    shared = sorted(set.intersection(*(set(found) for found in means.values()))) if means else []
    if len(means) < 3 or len(shared) < 3:
        reason = "fewer than three configurations were evaluated at three or more steps that all share"
        return RanksOverTime((), (), (), skipped=reason)
    sign = 1.0 if members[0].objective.mode == "min" else -1.0
    table_CT = np.array([[sign * found[step] for step in shared] for found in means.values()])
    ranks_CT = np.apply_along_axis(stats.rankdata, 0, table_CT)
    kept = [item for item in members if item.key in means]
    labels = labels_of(kept)
    lines = [
        RankLine(item.key, labels[item.key], tuple(own.tolist())) for item, own in zip(kept, ranks_CT, strict=True)
    ]
    agreement = tuple(_agreement(column_C, ranks_CT[:, -1]) for column_C in ranks_CT.T)
    ordered = tuple(sorted(lines, key=lambda line: (line.ranks[-1], line.key)))
    return RanksOverTime(tuple(shared), ordered, agreement, pattern=members[0].pattern)


def _means(item: Configuration, progress: Curves) -> dict[int, float] | None:
    """Return the mean over seeds at the steps that every seed was evaluated at; None where a seed has no points."""
    own = [progress[trial.run_id].by_step for trial in item.finished if trial.run_id in progress]
    if not own or len(own) < len(item.finished):
        return None
    shared = sorted(set.intersection(*(set(values) for values in own)))
    return {step: sum(values[step] for values in own) / len(own) for step in shared}


def _agreement(ranks_C: npt.NDArray[np.float64], last_C: npt.NDArray[np.float64]) -> float:
    """Return Spearman's correlation of two rankings, NaN where all ranks of one are tied."""
    if np.ptp(ranks_C) == 0 or np.ptp(last_C) == 0:
        return math.nan
    return float(stats.pearsonr(ranks_C, last_C).statistic)

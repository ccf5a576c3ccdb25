"""Comparison of the policy-gradient estimators: the loss residual of the best configuration of each."""

import math
from collections.abc import Sequence

import pandas as pd

from nmlab.reports.analysis.configurations import Configuration, best_of, groups_of, searched
from nmlab.reports.figures.maskpro.residual import ResidualInfo, draw_residual, residual_info
from nmlab.reports.figures.style import FigureFile

KEY, TITLE = "estimators", "Loss residual by estimator"
SETTING = "estimator"
REMARK = (
    " Each estimator at its own best configuration. An estimator without a finished run is shown at the configuration "
    "with the least residual, up to the step at which its first seed diverged."
)


def estimators_info(configurations: Sequence[Configuration], *, curves: pd.DataFrame) -> ResidualInfo | None:
    """Return the curve of each estimator at its own best configuration, within the largest group; None for fewer
    than two estimators.

    An estimator that diverged everywhere is shown too, at its configuration with the least residual.

    Args:
        configurations: all of a launch, best first.
        curves: ``run_id, metric, step, value`` of the residual.
    """
    groups = groups_of(item for item in searched(configurations) if SETTING in item.settings)
    members = max(groups.values(), key=len, default=[])
    losses = curves.groupby("run_id")["value"].mean().to_dict()
    best: list[Configuration] = []
    diverged: list[Configuration] = []
    for name in dict.fromkeys(item.settings[SETTING] for item in members):
        own = [item for item in members if item.settings[SETTING] == name]
        found = best_of(own)
        if found is not None:
            best.append(found)
        else:
            diverged.append(min(own, key=lambda item: max(losses.get(run, math.inf) for run in item.run_ids)))
    if len(best) + len(diverged) < 2:
        return None
    info = residual_info(best, curves=curves, highlighted=len(best) + len(diverged), diverged=diverged)
    return info if len(info.curves) > 1 else None


def draw_estimators(info: ResidualInfo | None) -> FigureFile:
    """Draw the curves with the range of their seeds."""
    if info is None:
        return FigureFile(KEY, TITLE, "", skipped="fewer than two estimators recorded their residuals")
    return draw_residual(info, key=KEY, title=TITLE, remark=REMARK)

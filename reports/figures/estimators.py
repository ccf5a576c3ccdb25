"""The policy-gradient estimators side by side: the loss residual of the best configuration of each."""

from collections.abc import Sequence

import pandas as pd

from nmlab.reports.configurations import Configuration, best_of, groups_of, searched
from nmlab.reports.figures.residual import ResidualInfo, draw_residual, residual_info
from nmlab.reports.figures.style import FigureFile

KEY, TITLE = "estimators", "Loss residual by estimator"
SETTING = "estimator"


def estimators_info(configurations: Sequence[Configuration], *, curves: pd.DataFrame) -> ResidualInfo | None:
    """Return the curve of each estimator at its own best configuration, within the largest group; None for fewer
    than two estimators.

    Args:
        configurations: all of a launch, best first.
        curves: ``run_id, metric, step, value`` of the residual.
    """
    groups = groups_of(item for item in searched(configurations) if SETTING in item.settings)
    members = max(groups.values(), key=len, default=[])
    names = list(dict.fromkeys(item.settings[SETTING] for item in members))
    best = [best_of([item for item in members if item.settings[SETTING] == name]) for name in names]
    found = [item for item in best if item is not None]
    if len(found) < 2:
        return None
    info = residual_info(found, curves=curves, highlighted=len(found))
    return info if len(info.curves) > 1 else None


def draw_estimators(info: ResidualInfo | None) -> FigureFile:
    """Draw the curves with the range of their seeds."""
    if info is None:
        return FigureFile(KEY, TITLE, "", skipped="fewer than two estimators recorded their residuals")
    return draw_residual(info, key=KEY, title=TITLE)

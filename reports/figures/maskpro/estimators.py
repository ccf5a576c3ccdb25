"""Comparison of the policy-gradient estimators: the loss residual of the best configuration of each."""

from nmlab.reports.analysis.maskpro.residuals import ResidualInfo
from nmlab.reports.figures.maskpro.residual import draw_residual
from nmlab.reports.figures.style import FigureFile

KEY, TITLE = "estimators", "Loss residual by estimator"
REMARK = (
    " Each estimator at its own best configuration. An estimator without a finished run is shown at the configuration "
    "with the least residual, up to the step at which its first seed diverged."
)


def draw_estimators(info: ResidualInfo | None) -> FigureFile:
    """Draw the curves with the range of their seeds."""
    if info is None:
        return FigureFile(KEY, TITLE, "", skipped="fewer than two estimators recorded their residuals")
    return draw_residual(info, key=KEY, title=TITLE, remark=REMARK)

"""Figures: each a pure ``*_info`` value first, then a drawing of it as SVG and PNG."""

from nmlab.reports.collect import StudyRuns
from nmlab.reports.configurations import Configuration
from nmlab.reports.figures.importance import draw_importance, importance_info
from nmlab.reports.figures.parallel import draw_parallel, parallel_info
from nmlab.reports.figures.ranking import draw_ranking, ranking_info
from nmlab.reports.figures.residual import draw_residual, residual_info
from nmlab.reports.figures.style import DARK, LIGHT, FigureFile

__all__ = [
    "DARK",
    "LIGHT",
    "FigureFile",
    "draw_importance",
    "draw_parallel",
    "draw_ranking",
    "draw_residual",
    "importance_info",
    "parallel_info",
    "ranking_info",
    "residual_info",
    "study_figures",
]


def study_figures(runs: StudyRuns, *, configurations: tuple[Configuration, ...]) -> tuple[FigureFile, ...]:
    """Return every figure of the report, drawn or with the reason why it is not, in the order of reading."""
    return (
        draw_ranking(ranking_info(configurations)),
        draw_residual(residual_info(configurations, curves=runs.curves)),
        draw_importance(importance_info(configurations)),
        draw_parallel(parallel_info(configurations)),
    )

"""Figures: each module draws one value of the analysis as SVG, PNG and PDF, with what a reader can point at."""

from collections.abc import Mapping
from dataclasses import replace

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.fresh_seeds import fresh_seeds_of
from nmlab.reports.analysis.maskpro.early_losses import early_losses
from nmlab.reports.analysis.maskpro.residuals import residuals_of
from nmlab.reports.analysis.maskpro.sampled_losses import sampled_losses
from nmlab.reports.analysis.masks.layers import layer_changes
from nmlab.reports.analysis.masks.overlaps import corners_of, overlaps_of
from nmlab.reports.analysis.ranking import ranking_of
from nmlab.reports.analysis.settings import labels_of
from nmlab.reports.analysis.space.importance import importance_of
from nmlab.reports.analysis.space.outcomes import outcomes_of
from nmlab.reports.analysis.space.sensitivity import sensitivity_of
from nmlab.reports.analysis.step_cost import step_costs
from nmlab.reports.analysis.training.progress import progress_by_tokens
from nmlab.reports.analysis.training.ranks import ranks_over_time
from nmlab.reports.figures.fresh_seeds import draw_fresh_seeds
from nmlab.reports.figures.importance import draw_importance
from nmlab.reports.figures.layers import draw_layers
from nmlab.reports.figures.maskpro.losses import draw_losses
from nmlab.reports.figures.maskpro.residual import draw_residual
from nmlab.reports.figures.maskpro.sampled import draw_sampled
from nmlab.reports.figures.outcomes import draw_outcomes
from nmlab.reports.figures.overlaps import draw_overlap, draw_pictures
from nmlab.reports.figures.parallel import draw_parallel, parallel_coordinates
from nmlab.reports.figures.pareto import draw_pareto, pareto_panels
from nmlab.reports.figures.points import DataPoint, with_runs
from nmlab.reports.figures.progress import draw_progress
from nmlab.reports.figures.ranking import draw_ranking
from nmlab.reports.figures.ranks import draw_ranks
from nmlab.reports.figures.sensitivity import draw_sensitivity
from nmlab.reports.figures.step_cost import draw_step_cost
from nmlab.reports.figures.style import DARK, LIGHT, FigureFile

__all__ = [
    "DARK",
    "LIGHT",
    "DataPoint",
    "FigureFile",
    "draw_fresh_seeds",
    "draw_importance",
    "draw_layers",
    "draw_losses",
    "draw_outcomes",
    "draw_overlap",
    "draw_parallel",
    "draw_pareto",
    "draw_pictures",
    "draw_progress",
    "draw_ranking",
    "draw_ranks",
    "draw_residual",
    "draw_sampled",
    "draw_sensitivity",
    "draw_step_cost",
    "parallel_coordinates",
    "pareto_panels",
    "ranking_of",
    "study_figures",
]


def study_figures(analysis: Analysis) -> tuple[FigureFile, ...]:
    """Return every figure of the report, drawn or with the reason why not, in the order of the page."""
    runs, configurations, summary_rows = analysis.runs, analysis.configurations, analysis.summary_rows
    selected = {leader.best.key for leader in analysis.leaders if leader.is_selected}
    drawn = (
        draw_ranking(ranking_of(configurations, selected=selected)),
        draw_fresh_seeds(fresh_seeds_of(configurations)),
        draw_pareto(pareto_panels(analysis.front, objective=runs.objective, configurations=configurations)),
        draw_progress(progress_by_tokens(configurations, summary_rows=summary_rows, progress=runs.progress)),
        draw_sensitivity(sensitivity_of(configurations)),
        draw_outcomes(outcomes_of(configurations)),
        draw_importance(importance_of(configurations)),
        draw_parallel(parallel_coordinates(configurations)),
        draw_residual(residuals_of(configurations, curves=runs.curves)),
        draw_losses(early_losses(configurations, curves=runs.curves)),
        draw_sampled(sampled_losses(analysis.mask_losses, configurations=configurations)),
        draw_ranks(ranks_over_time(configurations, progress=runs.progress)),
        draw_overlap(overlaps_of(summary_rows, masks=analysis.masks)),
        draw_pictures(corners_of(summary_rows, masks=analysis.masks)),
        draw_layers(layer_changes(summary_rows, runs=runs, masks=analysis.masks)),
        draw_step_cost(step_costs(summary_rows)),
    )
    items = {item.key: item for item in configurations}
    names = labels_of(configurations)
    return tuple(_with_runs(figure, items, names) for figure in drawn)


def _with_runs(figure: FigureFile, items: Mapping[str, Configuration], names: Mapping[str, str]) -> FigureFile:
    """Return a figure whose points are named by their configuration and know their runs."""
    points = tuple(
        with_runs(point, item=items[point.configuration], name=names[point.configuration])
        if point.configuration in items
        else point
        for point in figure.points
    )
    return replace(figure, points=points)

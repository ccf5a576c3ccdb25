"""The figures' values before they are drawn: progress, losses, estimators, ranks, time, memory."""

import math

import numpy as np
import pytest
from measured import as_curves, with_metrics

from nmlab.reports.analysis.maskpro.early_losses import early_losses
from nmlab.reports.analysis.maskpro.residuals import residuals_of
from nmlab.reports.analysis.space.sensitivity import sensitivity_of
from nmlab.reports.analysis.step_cost import step_costs
from nmlab.reports.analysis.summary_rows import SummaryRow
from nmlab.reports.analysis.training.progress import progress_by_tokens
from nmlab.reports.analysis.training.ranks import RankLine, ranks_over_time
from nmlab.reports.figures import (
    draw_losses,
    draw_progress,
    draw_ranks,
    draw_residual,
    draw_step_cost,
)
from nmlab.reports.figures.ranks import beside_ties
from nmlab.reports.read.objective import Objective
from nmlab.trials.contract.metrics import initial_name

METRIC = "eval/perplexity"


def with_columns(item, **columns):
    return with_metrics(item, {name.replace("__", "/"): value for name, value in columns.items()})


def learned(configuration, values, **settings):
    item = configuration(values, **settings)
    costs = {"cost/tokens": 100.0, "cost/initial_tokens": 20.0, initial_name(METRIC): 99.0}
    return with_metrics(item, costs)


def history(*parts):
    """Points of several runs: each a run id with its values by step."""
    return as_curves(
        [{"run_id": run, "step": step, "value": value} for run, points in parts for step, value in points.items()]
    )


def evaluated(item, *by_seed):
    return list(zip(item.run_ids, by_seed, strict=True))


# --- progress -------------------------------------------------------------------------------------------------


def test_progress_is_the_mean_over_seeds_by_tokens(configuration):
    item = learned(configuration, [50.0, 54.0])
    rule = configuration([80.0], method="wanda", role="baseline")
    points = history(*evaluated(item, {0: 99.0, 5: 70.0, 10: 50.0}, {0: 99.0, 5: 74.0, 7: 60.0, 10: 54.0}))
    info = progress_by_tokens([item, rule], summary_rows=[SummaryRow(item, "best", "x")], progress=points)
    (curve,) = info.curves
    assert curve.tokens == (20.0, 60.0, 100.0)  # the initial mask, then half of the steps, then all
    assert (curve.mean, curve.low, curve.high) == ((99.0, 72.0, 52.0), (99.0, 70.0, 50.0), (99.0, 74.0, 54.0))
    assert info.references == (("wanda", 80.0),)
    assert draw_progress(info).svg.startswith(b"<?xml")


def test_a_line_that_would_press_the_curves_flat_is_told_and_not_drawn(configuration):
    item = learned(configuration, [90.0])
    rules = [configuration([value], method=name, role="baseline") for name, value in (("wanda", 95.0), ("dense", 9.0))]
    points = history(*evaluated(item, {0: 99.0, 5: 97.0, 10: 90.0}))
    info = progress_by_tokens([item, *rules], summary_rows=[SummaryRow(item, "best", "x")], progress=points)
    assert info.references == (("wanda", 95.0),)
    assert info.outside == (("dense", 9.0),)
    assert draw_progress(info).caption.endswith("Outside the picture: dense at 9.00.")


def test_progress_needs_an_evaluation_on_the_way(configuration):
    item = learned(configuration, [50.0])
    points = history(*evaluated(item, {0: 99.0, 10: 50.0}))
    info = progress_by_tokens([item], summary_rows=[SummaryRow(item, "best", "x")], progress=points)
    assert info.skipped == "no learned mask was evaluated between its start and its end"
    assert draw_progress(info).svg == b""


# --- losses by logit magnitude --------------------------------------------------------------------------------


def residuals(item, values):
    return [{"run_id": run, "step": step, "value": value}
            for run in item.run_ids for step, value in enumerate(values, start=1)]  # fmt: skip


def test_losses_are_quantiles_of_the_first_steps(configuration):
    small, large = configuration([90.0], logit_magnitude=2.0), configuration([80.0], logit_magnitude=6)
    early = np.linspace(0.5, 1.5, 100)
    curves = as_curves([*residuals(small, [*early, -99.0]), *residuals(large, [-0.1] * 50 + [0.1] * 50)])
    info = early_losses([large, small], curves=curves)
    assert [box.magnitude for box in info.boxes] == [2.0, 6.0]
    assert info.boxes[0].quantiles == pytest.approx(np.percentile(early, (5, 25, 50, 75, 95)))  # step 101 is late
    assert [box.share_better for box in info.boxes] == [0.0, 0.5]
    assert [box.points for box in info.boxes] == [100, 100]
    assert draw_losses(info).svg.startswith(b"<?xml")


def test_losses_are_those_of_the_logits_that_moved_least(configuration):
    """A large learning rate moves the logits within the first steps, and C is no longer what is shown."""
    items = [
        configuration([90.0], logit_magnitude=magnitude, learning_rate=rate)
        for magnitude in (2.0, 6.0)
        for rate in (0.3, 3.0)
    ]
    curves = as_curves(
        [point for item in items for point in residuals(item, [float(item.settings["learning_rate"])] * 30)]
    )
    info = early_losses(items, curves=curves)
    assert [box.quantiles[2] for box in info.boxes] == [0.3, 0.3]
    assert info.rates == (0.3, 0.3)
    assert "smallest learning rate (0.3)" in draw_losses(info).caption
    assert [len(box.dots) for box in info.boxes] == [30, 30]


def test_few_residuals_are_dots_and_no_box(configuration):
    items = [configuration([90.0], logit_magnitude=magnitude) for magnitude in (2.0, 6.0)]
    curves = as_curves([point for item in items for point in residuals(item, [0.1, 0.2, 0.3, 0.4, 0.5])])
    caption = draw_losses(early_losses(items, curves=curves)).caption
    assert "boxes" not in caption
    assert "dots are single residuals" in caption


def test_the_many_magnitudes_of_a_search_are_put_into_groups(configuration):
    items = [configuration([90.0], logit_magnitude=2.0 + k / 10) for k in range(18)]
    curves = as_curves([point for item in items for point in residuals(item, [0.1] * 10)])
    info = early_losses(items, curves=curves)
    assert [box.points for box in info.boxes] == [30] * 6
    assert [box.label for box in info.boxes][:2] == ["2.00 to 2.20", "2.30 to 2.50"]


def test_losses_count_diverged_runs_and_skip_what_is_not_finite(configuration):
    gone, kept = configuration([np.inf], logit_magnitude=2.0), configuration([80.0], logit_magnitude=6.0)
    curves = as_curves([*residuals(gone, [1.0] * 6 + [np.nan]), *residuals(kept, [0.0] * 6)])
    assert [box.points for box in early_losses([gone, kept], curves=curves).boxes] == [6, 6]
    one = early_losses([kept], curves=curves)
    assert one.skipped == "fewer than two logit magnitudes have residuals of their first steps"
    assert draw_losses(one).svg == b""


# --- estimators -----------------------------------------------------------------------------------------------


def test_each_estimator_is_named_at_its_own_best(configuration):
    items = [
        configuration([value, value + 1], estimator=name, learning_rate=rate)
        for name, rate, value in (
            ("tracked", 1.0, 70.0), ("tracked", 3.0, 75.0), ("tracked", 5.0, 76.0), ("tracked", 7.0, 77.0),
            ("vanilla", 1.0, 99.0), ("plain", 1.0, 120.0), ("plain", 2.0, 121.0),
        )
    ]  # fmt: skip
    curves = as_curves([point for item in items for point in residuals(item, np.linspace(0, -1, 40))])
    info = residuals_of(items, curves=curves)
    assert [curve.key for curve in info.curves[: info.named]] == [items[place].key for place in (0, 4, 5, 1)]
    assert len(info.curves) == len(items)
    assert "In grey: 3 further configurations." in draw_residual(info).caption
    assert "no run finished" not in draw_residual(info).caption


def test_an_estimator_of_which_no_run_finished_is_named_as_far_as_it_came(configuration):
    kept = configuration([70.0, 71.0], estimator="tracked", learning_rate=1.0)
    short, longer = (configuration([np.inf, np.inf], estimator="vanilla", learning_rate=rate) for rate in (1.0, 0.3))
    curves = as_curves(
        [*residuals(kept, [0.1] * 40), *residuals(short, [3.0] * 5), *residuals(longer, [1.0, 2.0] * 10)]
    )
    info = residuals_of([kept, short, longer], curves=curves)
    assert [curve.key for curve in info.curves] == [kept.key, longer.key]
    assert info.named == 2
    assert info.curves[1].label.endswith("(diverged)")
    assert info.curves[1].steps[-1] < 21 < info.curves[0].steps[-1]
    assert "first seed diverged" in draw_residual(info).caption


# --- ranks ----------------------------------------------------------------------------------------------------


def test_ranks_over_the_steps_that_all_share(configuration):
    items = [learned(configuration, [value, value], alpha=value) for value in (50.0, 60.0, 70.0)]
    points = history(
        *evaluated(items[0], {0: 99.0, 5: 90.0, 10: 50.0}, {0: 99.0, 5: 92.0, 10: 50.0}),
        *evaluated(items[1], {0: 99.0, 5: 80.0, 7: 1.0, 10: 60.0}, {0: 99.0, 5: 80.0, 10: 60.0}),
        *evaluated(items[2], {0: 99.0, 5: 85.0, 10: 70.0}, {0: 99.0, 5: 85.0, 10: 70.0}),
    )
    info = ranks_over_time(items, progress=points)
    assert info.steps == (0, 5, 10)
    assert [line.ranks for line in info.lines] == [(2.0, 3.0, 1.0), (2.0, 1.0, 2.0), (2.0, 2.0, 3.0)]
    assert info.agreement[-1] == pytest.approx(1.0)
    assert info.agreement[1] == pytest.approx(-0.5)
    assert math.isnan(info.agreement[0])  # all alike at the start
    assert draw_ranks(info).svg.startswith(b"<?xml")


def test_ties_are_drawn_side_by_side():
    lines = [RankLine("a", "a", (1.5, 1.0)), RankLine("b", "b", (1.5, 2.0)), RankLine("c", "c", (3.0, 3.0))]
    first, second, third = (beside_ties(lines, index) for index in range(3))
    assert first[0] < 1.5 < second[0]
    assert (first[1], second[1], third) == (1.0, 2.0, (3.0, 3.0))


def test_ranks_need_three_configurations_and_three_steps(configuration):
    items = [learned(configuration, [value], alpha=value) for value in (50.0, 60.0)]
    points = history(*(part for item in items for part in evaluated(item, {0: 9.0, 5: 8.0, 9: 7.0})))
    assert ranks_over_time(items, progress=points).skipped.startswith("fewer than three configurations")
    assert draw_ranks(ranks_over_time(items, progress=points)).svg == b""


# --- time and memory ------------------------------------------------------------------------------------------


def test_a_step_is_split_into_its_parts_and_the_rest(configuration):
    parts = {"time__sample_s": [0.001, 0.003], "time__forward_s": 0.005, "time__update_s": 0.002, "time__step_s": 0.01}
    item = with_columns(learned(configuration, [50.0, 51.0]), **parts)
    info = step_costs([SummaryRow(item, "best", "x"), SummaryRow(item, "initial", "y")])
    (row,) = info.rows
    assert row.parts == pytest.approx((0.002, 0.005, 0.002))
    assert row.rest == pytest.approx(0.001)
    drawn = draw_step_cost(info)
    assert drawn.svg.startswith(b"<?xml")
    assert "exact counts" not in drawn.caption
    untimed = step_costs([SummaryRow(learned(configuration, [50.0]), "best", "x")])
    assert untimed.skipped == "no learned mask recorded the parts of its steps or its state"
    assert draw_step_cost(untimed).svg == b""


def test_memory_is_counted_for_each_masked_weight(configuration):
    rows = []
    for method, trained, dtype, held in (("susi", 1000.0, "float32", 4000.0), ("maskllm", 1500.0, "bfloat16", 2000.0)):
        item = learned(configuration, [50.0], method=method, **{"model.dtype": dtype})
        counts = {"cost__trainable_params": trained, "memory__state_bytes": 12 * trained}
        rows.append(SummaryRow(with_columns(item, **counts, memory__masked_weight_bytes=held), "best", method))
    info = step_costs(rows)
    assert [(row.label, row.trained, row.state) for row in info.rows] == [("susi", 1.0, 12.0), ("maskllm", 1.5, 18.0)]
    drawn = draw_step_cost(info)
    assert "exact counts" in drawn.caption
    assert "Times" not in drawn.caption


def test_the_memory_of_one_mask_is_no_figure(configuration):
    item = learned(configuration, [50.0])
    counted = with_columns(item, cost__trainable_params=1000.0, memory__masked_weight_bytes=2000.0)
    assert draw_step_cost(step_costs([SummaryRow(counted, "best", "x")])).skipped.startswith("one learned mask")


def test_the_small_study_draws_what_it_has(analysis):
    assert analysis.runs.objective == Objective(METRIC, "min")
    info = sensitivity_of(analysis.configurations)
    assert [effect.name for effect in info.settings] == ["alpha"]
    assert step_costs(analysis.summary_rows).rows[0].parts == (0.001, 0.008, 0.001)

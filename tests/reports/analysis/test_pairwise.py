"""Pairwise comparisons of masks: the deciding noise, the pairing, and ties with the best."""

import math

import numpy as np
import pytest
from measured import with_metrics
from scipy import stats

from nmlab.reports.analysis.marks import marks_of
from nmlab.reports.analysis.pairwise import Competitor, Side, best_versus_rest, losses_of, pairwise_comparisons
from nmlab.reports.analysis.summary_rows import SummaryRow, names_of
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.statistics import Noise, adjusted
from nmlab.reports.tables.best_versus_rest import best_versus_rest_table

METRIC = "eval/perplexity"
TOKENS = np.full(40, 100)


def evaluation(perplexity, *, wobble=0.0, seed=0):
    rng = np.random.default_rng(seed)
    loss = 100 * (np.log(perplexity) + wobble * rng.normal(size=40))
    return RunEvaluation(loss, TOKENS, np.full(40, 60), None)


def kept(item, perplexity, **noise):
    return {run_id: evaluation(perplexity, **noise) for run_id in item.run_ids}


def test_two_trained_sides_are_paired_by_seed(configuration):
    first, second = configuration([10.0, 12.0, 15.0], alpha=1), configuration([11.0, 12.5, 17.0], alpha=2)
    (found,) = pairwise_comparisons(Side(second), others=[Side(first)], metric=METRIC, evaluations={})
    expected = stats.ttest_rel(np.log([10.0, 12.0, 15.0]), np.log([11.0, 12.5, 17.0]))
    assert found.training.p_value == pytest.approx(expected.pvalue)
    assert (found.difference, found.training.n) == (pytest.approx(-3.5 / 3), 3)
    assert found.decisive.noise is Noise.TRAINING
    assert found.evaluation is None


def test_metrics_other_than_perplexity_are_compared_on_their_own_scale(configuration):
    items = [configuration(values, alpha=values[0]) for values in ([0.5, 0.6, 0.8], [0.3, 0.5, 0.5])]
    for item in items:
        with_metrics(item, {"eval/quiz/acc": [trial.metric("eval/perplexity") for trial in item.trials]})
    (found,) = pairwise_comparisons(Side(items[1]), others=[Side(items[0])], metric="eval/quiz/acc", evaluations={})
    assert found.training.p_value == pytest.approx(stats.ttest_rel([0.5, 0.6, 0.8], [0.3, 0.5, 0.5]).pvalue)
    assert not found.is_ratio


def test_a_seed_that_diverged_on_one_side_is_left_out_on_both(configuration):
    first, second = configuration([10.0, math.inf, 15.0], alpha=1), configuration([11.0, 12.5, 17.0], alpha=2)
    (found,) = pairwise_comparisons(Side(second), others=[Side(first)], metric=METRIC, evaluations={})
    assert found.training.n == 2
    assert found.training.difference == pytest.approx((np.log(10.0 / 11.0) + np.log(15.0 / 17.0)) / 2)
    assert found.difference == pytest.approx(-1.5)


def test_a_rule_without_a_seed_is_a_constant(configuration):
    trained, rule = configuration([10.0, 12.0, 15.0]), configuration([20.0], method="wanda", role="baseline")
    (found,) = pairwise_comparisons(Side(trained), others=[Side(rule)], metric=METRIC, evaluations={})
    expected = stats.ttest_1samp(np.log([10.0, 12.0, 15.0]), np.log(20.0))
    assert found.training.p_value == pytest.approx(expected.pvalue)
    assert found.difference == pytest.approx(20.0 - 37.0 / 3)


def test_two_rules_differ_by_the_windows_alone(configuration):
    first = configuration([20.0], method="wanda", role="baseline")
    second = configuration([30.0], method="magnitude", role="baseline")
    windows = {**kept(first, 20.0, wobble=0.1, seed=1), **kept(second, 30.0, wobble=0.1, seed=2)}
    (found,) = pairwise_comparisons(Side(first), others=[Side(second)], metric=METRIC, evaluations=windows)
    assert found.training is None
    assert found.decisive.noise is Noise.EVALUATION
    assert found.decisive.n == 40
    assert found.evaluation.difference == pytest.approx(np.log(1.5), abs=0.06)
    assert found.is_separated is True


def test_a_learned_mask_without_training_noise_is_a_constant(configuration):
    """ProxSparse learns from the dense weights without random draws, so one run shows all of its training."""
    trained = configuration([10.0, 12.0, 15.0], depends_on_seed="true")
    fixed, rule = (configuration([20.0], method=method, depends_on_seed="false") for method in ("proxsparse", "wanda"))
    with_metrics(fixed, {"initial/perplexity": [40.0]})
    (found,) = pairwise_comparisons(Side(trained), others=[Side(fixed)], metric=METRIC, evaluations={})
    assert found.training.p_value == pytest.approx(stats.ttest_1samp(np.log([10.0, 12.0, 15.0]), np.log(20.0)).pvalue)
    windows = {**kept(fixed, 20.0, wobble=0.1, seed=1), **kept(rule, 30.0, wobble=0.1, seed=2)}
    (found,) = pairwise_comparisons(Side(rule), others=[Side(fixed)], metric=METRIC, evaluations=windows)
    assert found.decisive.noise is Noise.EVALUATION


@pytest.mark.parametrize("seeds", [2, 3, 5, 6, 7])
def test_a_mask_that_training_left_as_it_was_is_not_different_from_its_start(configuration, seeds):
    """The mean of equal losses over seeds is not the loss itself, in its last bits; no test may find that."""
    trained = configuration([20.0] * seeds, depends_on_seed="true")
    rule = configuration([20.0], method="wanda", role="baseline")
    windows = {**kept(trained, 20.0, wobble=0.3, seed=1), **kept(rule, 20.0, wobble=0.3, seed=1)}
    (found,) = pairwise_comparisons(Side(rule), others=[Side(trained)], metric=METRIC, evaluations=windows)
    assert (found.evaluation.difference, found.evaluation.p_value) == (0.0, 1.0)
    assert not found.is_separated


def test_equal_seeds_are_decided_by_the_windows(configuration):
    """Without spread over seeds a t-test would find any difference significant."""
    equal = configuration([20.0, 20.0, 20.0], depends_on_seed="true")
    rule = configuration([20.1], method="wanda", role="baseline", depends_on_seed="false")
    windows = {**kept(equal, 20.0, wobble=0.3, seed=1), **kept(rule, 20.1, wobble=0.3, seed=2)}
    (found,) = pairwise_comparisons(Side(rule), others=[Side(equal)], metric=METRIC, evaluations=windows)
    assert found.training is None
    assert found.decisive.noise is Noise.EVALUATION
    assert found.is_separated is False


def test_one_draw_of_a_random_mask_is_not_tested_by_windows(configuration):
    first = configuration([20.0], method="wanda", depends_on_seed="false")
    second = configuration([30.0], method="random", depends_on_seed="true")
    windows = {**kept(first, 20.0, wobble=0.1, seed=1), **kept(second, 30.0, wobble=0.1, seed=2)}
    (found,) = pairwise_comparisons(Side(first), others=[Side(second)], metric=METRIC, evaluations=windows)
    assert found.decisive is None


def test_windows_never_replace_the_seeds_of_a_trained_side(configuration):
    """One seed of a trained mask shows no training noise, for any number of windows."""
    trained = with_metrics(configuration([20.0]), {"initial/perplexity": 40.0})
    rule = configuration([30.0], method="wanda", role="baseline")
    windows = {**kept(trained, 20.0, wobble=0.1), **kept(rule, 30.0, wobble=0.1, seed=2)}
    (found,) = pairwise_comparisons(Side(rule), others=[Side(trained)], metric=METRIC, evaluations=windows)
    assert found.evaluation is not None
    assert found.decisive is None
    assert found.is_separated is None


def test_losses_of_several_seeds_are_averaged_and_other_text_is_refused(configuration):
    item = configuration([10.0, 20.0])
    ids = list(item.run_ids)
    both = {ids[0]: evaluation(10.0), ids[1]: evaluation(20.0)}
    assert losses_of(Side(item), metric=METRIC, evaluations=both).loss_W == pytest.approx(100 * np.log(np.sqrt(200.0)))
    assert losses_of(Side(item), metric=METRIC, evaluations={ids[0]: evaluation(10.0)}) is None
    other = RunEvaluation(np.zeros(40), TOKENS + 1, np.full(40, 60), None)
    assert losses_of(Side(item), metric=METRIC, evaluations={ids[0]: evaluation(10.0), ids[1]: other}) is None


def test_each_kind_of_noise_is_corrected_separately(configuration):
    best = configuration([10.0, 11.0, 12.0], alpha=0)
    others = [configuration([10.5 + k, 11.9 + k, 12.2 + k], alpha=1 + k) for k in range(4)]
    found = pairwise_comparisons(Side(best), others=[Side(item) for item in others], metric=METRIC, evaluations={})
    assert [item.p_adjusted for item in found] == list(adjusted([item.training.p_value for item in found]))


def test_what_is_not_separated_from_the_best_is_tied_with_it(configuration):
    near, far = configuration([10.0, 14.0, 12.2], alpha=2), configuration([50.0, 51.0, 52.0], alpha=3)
    best = configuration([10.0, 13.0, 12.0], alpha=1)
    competitors = [Competitor(Side(item), "2:4") for item in (far, near, best)]
    found = best_versus_rest(competitors, metric=METRIC, evaluations={})
    assert {comparison.reference.item.key for comparison in found["2:4"]} == {best.key}
    assert {item.side.item.key for item in found["2:4"] if not item.is_distinct} == {near.key}
    assert [str(mark) for mark in marks_of(competitors, metric=METRIC, comparisons=found)] == ["second", "tied", "best"]


def test_the_best_of_a_metric_that_grows_is_the_highest(configuration):
    low, high = configuration([1.0, 2.0], mode="max", alpha=1), configuration([5.0, 6.0], mode="max", alpha=2)
    found = best_versus_rest([Competitor(Side(item), "g") for item in (low, high)], metric=METRIC, evaluations={})
    assert found["g"][0].reference.item is high


def test_the_table_of_the_small_study(analysis):
    table = best_versus_rest_table(
        analysis.configurations, names=names_of(analysis.summary_rows), comparisons=analysis.decisive_comparisons
    )
    rows = {row.cells[0].value: row for row in table.rows}
    assert set(rows) == {"magnitude", "wanda", "maskpro, its initial mask (wanda)"}
    found = {key: dict(zip(rows, table.column(key), strict=True)) for key in ("difference", "seeds", "windows")}
    assert found["difference"]["wanda"].value == pytest.approx(120.0 - 80.0)
    ratio = 120.0 / np.cbrt(78.0 * 80.0 * 82.0)
    assert found["seeds"]["wanda"].value == pytest.approx(ratio)
    assert found["windows"]["wanda"].value == pytest.approx(ratio)
    interval = stats.ttest_1samp(np.log(120.0) - np.log([78.0, 80.0, 82.0]), 0.0).confidence_interval()
    assert (found["seeds"]["wanda"].low, found["seeds"]["wanda"].high) == pytest.approx(tuple(np.exp(interval)))
    assert [cell.value for cell in table.column("verdict")] == ["worse"] * 3
    assert {cell.value for cell in table.column("noise")} == {"3 seeds"}


def test_untested_rows_say_so(configuration):
    first, second = configuration([10.0], alpha=1), configuration([12.0], alpha=2)
    summary_rows = [SummaryRow(item, "best", item.key, group="g") for item in (first, second)]
    comparisons = best_versus_rest([row.competitor for row in summary_rows], metric=METRIC, evaluations={})
    table = best_versus_rest_table((first, second), names=names_of(summary_rows), comparisons=comparisons)
    assert [cell.value for cell in table.column("verdict")] == [
        "not tested: one value each, and no losses by window were stored"
    ]
    assert table.notes == ("No test was possible: one value each, and no losses by window were stored.",)

"""Configurations: means over seeds, varying settings, and comparable groups."""

import math
from dataclasses import replace

import pytest
from measured import with_metrics

from nmlab.reports.analysis.configurations import (
    baselines,
    best_of,
    comparable_group,
    configurations_of,
    groups_of,
    searched,
)
from nmlab.reports.analysis.settings import constant, setting_text, value_text, varying
from nmlab.reports.read.collect import collect
from nmlab.reports.tables.settings import _notes


def by_alpha(configurations):
    return {item.settings["alpha"]: item for item in searched(configurations)}


def test_seeds_are_grouped(configurations):
    assert len(configurations) == 8
    assert [item.method for item in baselines(configurations)] == ["dense", "wanda", "magnitude"]
    assert {len(item.trials) for item in searched(configurations)} == {3}


def test_best_first_and_incomplete_last(configurations):
    assert [item.settings["alpha"] for item in searched(configurations)] == [0.99, 0.95, 0.995, 0.9, 0.7]
    assert best_of(searched(configurations)).settings["alpha"] == 0.99


def test_mean_gain_and_counts_by_hand(configurations):
    best = by_alpha(configurations)[0.99]
    assert best.value.mean == pytest.approx(80.0)
    assert best.value.half_width == pytest.approx(4.96827, abs=1e-4)
    assert best.initial.mean == pytest.approx(120.0)
    assert (best.gain.mean, best.gain.half_width) == (pytest.approx(-40.0), pytest.approx(2.48414, abs=1e-4))
    assert best.is_complete
    assert best.is_learned


def test_failed_and_diverged_seeds_are_counted_not_averaged(configurations):
    failed, diverged = by_alpha(configurations)[0.9], by_alpha(configurations)[0.7]
    assert (failed.value.mean, failed.value.n) == (95.0, 2)
    assert (failed.count("finished"), failed.count("failed"), failed.is_complete) == (2, 1, False)
    assert (diverged.value.mean, diverged.value.n) == (129.0, 2)
    assert diverged.count("diverged") == 1
    assert diverged.gain.mean == pytest.approx(9.5)
    assert diverged.gain.half_width == pytest.approx(12.7062 * 0.707107 / math.sqrt(2), abs=1e-3)


def test_what_varies_and_what_does_not(configurations):
    tried = searched(configurations)
    assert varying(tried) == ("alpha",)
    assert constant(tried)["steps"] == 100
    assert setting_text(tried[0], names=("alpha", "steps", "missing")) == "alpha=0.99, steps=100"


def test_a_setting_that_only_some_of_a_method_have_varies(configuration):
    items = [configuration([1.0], alpha=0.9), configuration([2.0], alpha=0.9, tau_end=0.1)]
    assert varying(items) == ("tau_end",)


def test_a_setting_that_differs_only_between_methods_does_not_vary(configuration):
    items = [
        configuration([1.0], alpha=0.9, steps=10),
        configuration([1.5], alpha=0.8, steps=10),
        configuration([2.0], method="susi", tau_end=0.1, steps=20),
        configuration([2.5], method="susi", tau_end=0.1, steps=20),
    ]
    assert varying(items) == ("alpha",)
    assert constant(items) == {}
    assert constant(items[2:]) == {"tau_end": 0.1, "steps": 20}
    assert _notes(items) == (
        "The same in every configuration of maskpro: steps=10.",
        "The same in every configuration of susi: tau_end=0.1, steps=20.",
    )


@pytest.mark.parametrize(
    ("value", "text"), [(0.123456, "0.1235"), (20000.0, "20000"), (3, "3"), ("wanda", "wanda"), (1e-5, "1e-05")]
)
def test_value_text(value, text):
    assert value_text(value) == text


def test_higher_is_better_where_the_study_says_so(writer, store, trial):
    trials = [
        trial("maskpro", 0, 40.0, params={"alpha": alpha}, residual=[0.0], metrics={"eval/quiz/acc": score})
        for alpha, score in (("0.9", 0.5), ("0.99", 0.75))
    ]
    objective = {"search.metric": "eval/quiz/acc", "search.mode": "max"}
    writer.launch("accuracy", trials, name="accuracy-1", params=objective)
    found = configurations_of(collect(store, study="accuracy"))
    assert [item.settings["alpha"] for item in found] == [0.99, 0.9]


def test_patterns_are_compared_apart(writer, store, trial):
    trials = [trial("dense", 0, 40.0, role="baseline")]
    for pattern, value in (("2:4", 90.0), ("4:8", 70.0)):
        trials.append(trial("wanda", 0, value, role="baseline", pattern=pattern))
        trials.append(trial("maskpro", 0, value - 10, value, residual=[0.0], pattern=pattern))
    writer.launch("patterns", trials, name="patterns-1")
    groups = groups_of(configurations_of(collect(store, study="patterns")))
    assert [group[0] for group in groups] == ["2:4", "4:8"]
    assert [[item.method for item in members] for members in groups.values()] == [["maskpro", "wanda"]] * 2


def test_another_model_is_another_group(writer, store, trial):
    trials = [trial("wanda", 0, 50.0, role="baseline", params={"model.source": name}) for name in ("a", "b")]
    writer.launch("models", trials, name="models-1")
    groups = {comparable_group(item) for item in configurations_of(collect(store, study="models"))}
    assert len(groups) == 2


def test_an_initial_mask_that_is_not_finite_gives_no_gain(configurations):
    item = searched(configurations)[0]
    odd = with_metrics(replace(item), {"initial/perplexity": [120.0, math.inf, 120.0]})
    assert odd.gain is None
    assert odd.initial is None
    assert odd.value.n == 3


def test_a_value_that_is_not_finite_gives_no_mean(configurations, runs):
    item = searched(configurations)[0]
    odd = with_metrics(replace(item), {"eval/odd": [1.0, math.inf, 2.0]})
    assert odd.estimate("eval/odd") is None
    assert odd.estimate("eval/never") is None
    assert odd.estimate(runs.objective.metric).n == 3

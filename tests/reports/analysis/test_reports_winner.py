"""The winner among the searched configurations: the statement, its error rate, its power, and its sentence."""

import math

import numpy as np
import pandas as pd
import pytest
from measured import as_curves, with_facts

from nmlab.reports.analysis.analysis import analyse
from nmlab.reports.analysis.configurations import Configuration, configurations_of, searched
from nmlab.reports.analysis.pairwise import Completion, Winner, winners_of
from nmlab.reports.narrative.winner_words import winner_sentence
from nmlab.reports.read.collect import collect
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.read.objective import Objective
from nmlab.reports.read.trials import TrialRecord
from nmlab.reports.statistics import holm, winner_margin, winner_power
from nmlab.reports.tables.comparison import comparison_tables

METRIC = "eval/perplexity"
GROUP = ("2:4",)


def searched_item(key, values, *, statuses=None, reason=""):
    """A searched configuration with one value for each seed; runs are finished unless a status is given."""
    statuses = statuses or ["finished"] * len(values)
    trials = tuple(
        TrialRecord(
            run_id=f"{key}-{seed}",
            trial_key="",
            configuration=key,
            role="search",
            method="maskpro",
            pattern="2:4",
            seed=seed,
            status=status,
            reason=reason if status == "stopped" else "",
            metrics={METRIC: value} if status == "finished" else {},
        )
        for seed, (value, status) in enumerate(zip(values, statuses, strict=True))
    )
    return Configuration(key, "maskpro", "2:4", "search", {"alpha": key}, trials, Objective(METRIC, "min"))


def winner(items, *, progress=(), evaluations=None) -> Winner:
    ordered = sorted(
        items, key=lambda item: (item.value is None, not item.is_complete, item.value.mean if item.value else 0)
    )
    curves = as_curves(progress) if len(progress) else {}
    return winners_of(ordered, evaluations=evaluations or {}, progress=curves)[GROUP]


def curve(key, points, *, seeds=3):
    rows = [(f"{key}-{seed}", METRIC, step, value + 0.01 * seed) for seed in range(seeds) for step, value in points]
    return pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"])


# --- the statement ----------------------------------------------------------------------------------------------


def test_what_all_tests_find_better_is_the_winner():
    found = winner(
        [searched_item("a", [10, 10.1, 10.2]), searched_item("b", [20, 20.3, 20.1]), searched_item("c", [30, 31, 30.2])]
    )
    assert found.is_claimed
    assert found.best.key == "a"
    assert found.runner_up.item.key == "b"
    assert (found.undecided, found.better_but_incomplete) == ((), ())


def test_configurations_not_separable_from_the_best_are_named():
    items = [searched_item("a", [10, 11, 12]), searched_item("b", [10.5, 12.5, 11.2]), searched_item("c", [90, 91, 92])]
    found = winner(items)
    assert not found.is_claimed
    assert [other.item.key for other in found.undecided] == ["b"]
    text = winner_sentence(found, members=items)
    assert text.startswith(
        "No winner among 3 configurations: maskpro with alpha=a (a) has the best mean, perplexity 11.0"
    )
    assert "is not separable from 1 of the 2 others that ran to the end: alpha=b (b)." in text


def test_holm_counts_every_configuration_of_the_search():
    """A difference that one test finds is not enough among twenty."""
    near = [10.25, 10.42, 10.60]
    alone = winner([searched_item("a", [10.0, 10.1, 10.2]), searched_item("b", near)])
    assert alone.runner_up.p_adjusted < 0.05
    many = winner([searched_item("a", [10.0, 10.1, 10.2]), *(searched_item(f"b{n}", near) for n in range(19))])
    assert alone.is_claimed
    assert not many.is_claimed
    assert many.runner_up.p_adjusted == pytest.approx(19 * alone.runner_up.p_adjusted)


def test_a_configuration_that_lacks_a_run_and_looks_better_is_named_and_forbids_a_winner():
    items = [
        searched_item("a", [10, 10.1, 10.2]),
        searched_item("b", [20, 20.3, 20.1]),
        searched_item("c", [5, 5.1, 0], statuses=["finished", "finished", "oom"]),
    ]
    found = winner(items)
    assert found.best.key == "a"
    assert [other.item.key for other in found.better_but_incomplete] == ["c"]
    assert not found.is_claimed
    assert "Better on the runs that finished, but incomplete: alpha=c (c), 2 of 3 runs finished." in winner_sentence(
        found, members=items
    )


def test_equal_seeds_are_compared_where_one_is_missing():
    """Its only finished seed is the easy one, and on that seed it is worse."""
    items = [
        searched_item("a", [10, 30, 32]),
        searched_item("b", [12, 0, 0], statuses=["finished", "failed", "failed"]),
        searched_item("c", [90, 130, 131]),
    ]
    assert winner(items).better_but_incomplete == ()


def test_one_that_was_stopped_early_is_compared_at_the_last_common_step():
    items = [
        searched_item("a", [10, 10.1, 10.2]),
        searched_item("b", [20, 20.3, 20.1]),
        searched_item("c", [0] * 3, statuses=["stopped"] * 3, reason="stopped early: rung at step 20"),
    ]
    progress = pd.concat([curve("a", [(0, 50), (20, 40), (40, 10)]), curve("c", [(0, 50), (10, 41), (20, 35)])])
    found = winner(items, progress=progress)
    (early,) = [other for other in found.against_all if other.completion is Completion.STOPPED_EARLY]
    assert early.partial.step == 20
    assert early.partial.difference == pytest.approx(-5)
    assert found.is_claimed  # of those that ran to the end
    text = winner_sentence(found, members=items)
    assert "Stopped early while ahead of the best: alpha=c (c) at step 20." in text
    assert "1 configuration stopped early, not evaluated on all steps" in text


def test_where_only_the_best_ran_to_the_end_the_steps_of_the_others_decide():
    items = [searched_item("a", [10, 10.1, 10.2])]
    items += [searched_item(key, [0] * 3, statuses=["stopped"] * 3, reason="stopped early: x") for key in "bc"]
    apart = pd.concat([curve("a", [(20, 10)]), curve("b", [(20, 20)]), curve("c", [(20, 30)])])
    assert winner(items, progress=apart).is_claimed
    rng = np.random.default_rng(0)
    noisy = apart.assign(value=apart["value"] + 20 * rng.random(len(apart)))
    found = winner(items, progress=noisy)
    assert not found.is_claimed
    assert "no other configuration ran to the end" in winner_sentence(found, members=items)
    assert not winner(items).is_claimed  # nothing is known of how far the others got


def test_one_configuration_one_seed_or_equal_values_make_no_winner():
    assert not winner([searched_item("a", [10, 11, 12])]).is_claimed
    single = [searched_item("a", [10]), searched_item("b", [99])]
    assert not winner(single).is_claimed
    assert (
        "but no test was possible against the other one: one value each, and no losses by window were stored."
        in winner_sentence(winner(single), members=single)
    )
    assert not winner([searched_item("a", [10, 11]), searched_item("b", [10, 11])]).is_claimed


def test_a_configuration_whose_seeds_all_diverged_is_not_compared():
    items = [searched_item("a", [10, 10.1]), searched_item("b", [math.nan] * 2, statuses=["diverged"] * 2)]
    assert winner(items).against_all == ()


def test_methods_without_training_noise_are_tested_over_windows():
    def item(key, perplexity):
        made = searched_item(key, [perplexity])
        return with_facts(made, depends_on_seed="false")

    def losses(perplexity, windows):
        wobble = np.sin(np.arange(windows))
        return RunEvaluation(
            100 * (np.log(perplexity) + 0.01 * wobble), np.full(windows, 100), np.full(windows, 60), None
        )

    items = [item("a", 10.0), item("b", 11.0)]
    for windows, claimed in ((40, True), (6, False)):
        kept = {"a-0": losses(10.0, windows), "b-0": losses(11.0, windows)}
        found = winner(items, evaluations=kept)
        assert found.is_claimed is claimed
    text = winner_sentence(found, members=items, evaluations=kept)
    assert text.endswith("but no test was possible against the other one: 6 windows, a test needs at least 10.")


# --- error rate and power ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("configurations", "seeds"), [(2, 3), (3, 3), (8, 3), (2, 5)])
def test_among_equal_configurations_a_winner_is_rare(configurations, seeds):
    rng = np.random.default_rng(configurations * 100 + seeds)
    claims = 0
    for _ in range(300):
        values = np.exp(0.05 * rng.normal(size=(configurations, seeds)))
        claims += winner([searched_item(str(place), list(own)) for place, own in enumerate(values)]).is_claimed
    assert claims <= 300 * 0.05 + 3 * math.sqrt(300 * 0.05 * 0.95)


@pytest.mark.parametrize(("configurations", "seeds"), [(2, 3), (6, 3), (12, 5)])
def test_one_that_is_better_by_the_calculated_margin_is_named_as_often_as_stated(configurations, seeds):
    deviation = 0.02
    margin = winner_margin(0.9, deviation=deviation, seeds=seeds, configurations=configurations)
    assert winner_power(margin, deviation=deviation, seeds=seeds, configurations=configurations) == pytest.approx(
        0.9, abs=0.01
    )
    rng = np.random.default_rng(configurations)
    named = 0
    for _ in range(200):
        values = np.exp(
            deviation * rng.normal(size=(configurations, seeds)) + margin * (np.arange(configurations) > 0)[:, None]
        )
        found = winner([searched_item(str(place), list(own)) for place, own in enumerate(values)])
        named += found.is_claimed and found.best.key == "0"
    assert named >= 160


def test_power_grows_with_the_margin_and_shrinks_with_configurations_and_stopped_ones():
    def power(margin, **others):
        return winner_power(margin, **({"deviation": 1.0, "seeds": 3, "configurations": 8} | others))

    assert power(0.0) < 0.02 < power(5.0) < power(10.0) < power(20.0)
    assert power(8.0, configurations=4) > power(8.0)
    assert power(8.0, seeds=5) > power(8.0)
    assert power(12.0, stopped=6) < power(12.0)
    assert winner_power(0.1, deviation=0.0, seeds=2, configurations=2) == 1.0
    with pytest.raises(ValueError, match="at least two seeds but got 1"):
        winner_power(1.0, deviation=1.0, seeds=1, configurations=2)
    with pytest.raises(ValueError, match="at most 6 can be stopped, but got 7"):
        winner_power(1.0, deviation=1.0, seeds=3, configurations=8, stopped=7)


def test_holm_is_its_definition_and_a_missing_test_counts():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.01, None]) == pytest.approx((0.02, 1.0))
    assert holm([]) == ()


# --- in the report ----------------------------------------------------------------------------------------------


def test_table_marks_and_sentence_agree(writer, store, trial):
    trials = [
        trial("maskpro", seed, value, 300.0, {"alpha": alpha, "initial_mask": "random"}, residual=[0.0])
        for alpha, values in (("0.9", (70.0, 71.0, 72.0)), ("0.95", (70.4, 72.6, 71.4)), ("0.99", (90.0, 91.0, 92.2)))
        for seed, value in enumerate(values)
    ]
    writer.launch("winners", trials, name="winners-1")
    found = analyse(store, runs=collect(store, study="winners"))
    (own,) = found.winners.values()
    assert not own.is_claimed
    tables = {table.key: table for table in comparison_tables(found)}
    assert [cell.value for cell in tables["winner"].column("verdict")] == ["not separable", "worse"]
    marks = [str(cell.mark) for cell in tables["configurations"].column(METRIC)]
    assert marks == ["best", "tied", "second"]
    assert len(searched(configurations_of(found.runs))) == 3
    # a gain over a random start is no finding
    assert "difference" not in [column.key for column in tables["learned_vs_initial"].columns]
    assert "3 configurations without a difference" in tables["learned_vs_initial"].notes[0]

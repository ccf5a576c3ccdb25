"""The best of a search on fresh seeds: the verdict, its error rate and its power, the tables and the sentences."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from nmlab.reports.analysis.analysis import Analysis, analyse
from nmlab.reports.analysis.configurations import configurations_of, looked_at, ranks, searched
from nmlab.reports.analysis.pairwise import FreshVerdict, confirmed_of, optimism_of
from nmlab.reports.analysis.selection_bias import selection_bias_of
from nmlab.reports.analysis.space.importance import importance_of
from nmlab.reports.analysis.totals import total_of
from nmlab.reports.narrative.caveats import caveats_of
from nmlab.reports.narrative.confirmed_words import confirmed_sentences
from nmlab.reports.narrative.headline import headline_of
from nmlab.reports.narrative.verdicts import verdict_sentences
from nmlab.reports.read.collect import collect
from nmlab.reports.read.objective import Objective
from nmlab.reports.read.trials import TrialRecord
from nmlab.reports.report import document_of
from nmlab.reports.statistics import mean_interval, winner_margin, winner_power
from nmlab.reports.tables.comparison import comparison_tables
from nmlab.trials.contract import run_tags

METRIC, SELECTED = "eval/perplexity", "validation/perplexity"
FRESH = {run_tags.CONFIRMATION: run_tags.TRUE}


def record(key, seed, value, *, is_fresh=False, status="finished"):
    return TrialRecord(
        run_id=f"{key}-{seed}",
        trial_key=f"{key}-{seed}",
        configuration=key,
        role="search",
        method="maskpro",
        pattern="2:4",
        seed=seed,
        status=status,
        is_confirmation=is_fresh,
        depends_on_seed=run_tags.TRUE,
        settings={"alpha": key},
        metrics={METRIC: value, SELECTED: value} if status == "finished" else {},
    )


def confirmed_search(values, fresh, *, metric=METRIC):
    """The configurations of a launch without a store, by their values on seeds of the search and on fresh seeds."""
    trials = [record(key, seed, value) for key, own in values.items() for seed, value in enumerate(own)]
    for key, own in fresh.items():
        for seed, value in enumerate(own, start=100):
            status = "diverged" if math.isnan(value) else "finished"
            trials.append(record(key, seed, value, is_fresh=True, status=status))
    return configurations_of(
        SimpleNamespace(trials=trials, objective=Objective(metric, "min"), fresh_seeds=0, expected={})
    )


def verdict_of(values, fresh):
    items = confirmed_search(values, fresh)
    (found,) = confirmed_of(items, evaluations={}).values()
    return found, confirmed_sentences(found, members=items, evaluations={})


# --- the verdict, simulated ---------------------------------------------------------------------------------------

SEARCHES, CONFIGURATIONS, SEEDS, FINALISTS, FRESH_SEEDS = 200, 8, 3, 3, 5
NOISE = 0.02
"""Standard deviation over seeds of the logarithm of a perplexity."""
TRUE_MEAN = 100 * math.exp(NOISE**2 / 2)
BETTER = "2"
"""The key of the configuration that is better by the margin, where one is."""


def simulated_search(number, *, margin=0.0):
    """A search with noise of the seeds alone, and fresh seeds for its best by mean."""
    draw = np.random.default_rng(number)
    gain = {str(key): margin if str(key) == BETTER else 0.0 for key in range(CONFIGURATIONS)}

    def runs(key, seeds):
        return [100 * math.exp(NOISE * draw.normal() - gain[key]) for _ in range(seeds)]

    values = {key: runs(key, SEEDS) for key in gain}
    finalists = sorted(values, key=lambda key: sum(values[key]))[:FINALISTS]
    return values, {key: runs(key, FRESH_SEEDS) for key in finalists}


def test_among_equal_configurations_the_search_is_optimistic_and_fresh_seeds_are_not():
    searches, means, covered, seen = [], [], 0, 0
    for number in range(SEARCHES):
        found, text = verdict_of(*simulated_search(number))
        fresh = found.best.as_reported.value
        searches.append(found.best.value.mean)
        means.append(fresh.mean)
        covered += fresh.low <= TRUE_MEAN <= fresh.high
        seen += found.verdict is not FreshVerdict.NO_DIFFERENCE
        assert (FreshVerdict.NO_DIFFERENCE in text) == (found.verdict is FreshVerdict.NO_DIFFERENCE)
    search, fresh = mean_interval(searches), mean_interval(means)
    assert search.high < TRUE_MEAN - 100 * NOISE / math.sqrt(SEEDS), "the best of eight is off by a standard error"
    assert fresh.low <= TRUE_MEAN <= fresh.high
    chance = 3 * math.sqrt(SEARCHES * 0.05 * 0.95)
    assert covered >= 0.95 * SEARCHES - chance
    assert seen <= 0.05 * SEARCHES + chance


def test_a_better_one_is_named_as_often_as_calculated():
    """At the margin that the tests over fresh seeds find with 90% calculated power, of this many finalists."""
    size = {"deviation": NOISE, "seeds": FRESH_SEEDS, "configurations": FINALISTS}
    margin = winner_margin(0.9, **size)
    assert winner_power(margin, **size) == pytest.approx(0.9, abs=0.01)
    named = 0
    for number in range(SEARCHES):
        found, _ = verdict_of(*simulated_search(number, margin=margin))
        named += found.verdict is FreshVerdict.BETTER and found.best.key == BETTER
    assert named >= 0.8 * SEARCHES


# --- single verdicts ------------------------------------------------------------------------------------


def test_the_search_alone_selects_and_a_finalist_that_is_better_on_fresh_seeds_is_said():
    values = {"a": (80.0, 80.2, 79.9), "b": (80.5, 80.4, 80.3), "c": (90.0, 90.1, 90.2)}
    fresh = {"a": (85.0, 85.3, 84.9, 85.1, 85.2), "b": (81.0, 81.2, 80.9, 81.1, 81.3)}
    found, text = verdict_of(values, fresh)
    assert found.best.key == "a"
    assert found.verdict is FreshVerdict.ANOTHER
    assert [item.key for item in found.finalists] == ["a", "b"]
    assert text.startswith("Best of 3 configurations by the search: maskpro with alpha=a (a) reaches perplexity 85.10")
    assert "On fresh seeds alpha=b (b) is better: 81.10 ± 0.20 (5 seeds), p < 0.001." in text
    assert "to select it now would be a choice by these seeds" in text
    assert "Its mean in the search, 80.03 ± 0.38 (3 seeds), is 5.07 lower than that on fresh seeds" in text


def test_the_interval_of_the_difference_is_that_of_fresh_seeds():
    values, fresh = (
        {"a": (80.0, 81.0, 82.0), "b": (90.0, 91.0, 92.0)},
        {"a": (83.0, 85.0, 84.0, 86.0), "b": (90.0,) * 4},
    )
    items = confirmed_search(values, fresh)
    again, found = items[0].as_reported.value, optimism_of(items[0])
    assert (found.mean, found.n) == (pytest.approx(81.0 - 84.5), 4)
    assert found.low == pytest.approx(81.0 - again.high)
    assert found.high == pytest.approx(81.0 - again.low)
    assert optimism_of(confirmed_search(values, {})[0]) is None


def test_finalists_that_were_lost_and_runs_that_are_missing_are_said():
    nan = math.nan
    values = {"a": (80.0, 81.0), "b": (82.0, 83.0), "c": (84.0, 85.0)}
    found, text = verdict_of(values, {"a": (80.0, nan, 81.0), "b": (nan, nan, nan), "c": (95.0, 96.0, 95.5)})
    assert [item.key for item in found.lost] == ["b"]
    assert "(2 of 3 fresh runs finished)" in text
    assert "No run on fresh seeds finished of alpha=b (b)." in text
    alone, text = verdict_of(values, {"a": (80.0, 80.5, 81.0)})
    assert alone.verdict is FreshVerdict.UNTESTED
    assert "no other configuration finished on fresh seeds" in text
    single, text = verdict_of(values, {"a": (80.0,), "b": (81.0,)})
    assert single.verdict is FreshVerdict.UNTESTED
    assert "no test was possible against the other finalist: one seed each" in text
    assert "(one fresh seed, so no interval)" in text


def test_without_the_best_on_fresh_seeds_there_is_no_verdict():
    items = confirmed_search({"a": (80.0, 81.0), "b": (82.0, 83.0)}, {"b": (80.0, 79.0)})
    assert confirmed_of(items, evaluations={}) == {}
    assert items[0].key == "a"
    assert items[1].as_reported is items[1].confirmation


@pytest.mark.parametrize(
    ("metric", "fresh", "bias"),
    [
        (METRIC, {}, (True, True)),
        (METRIC, {"a": (80.5, 81.5)}, (True, False)),
        (SELECTED, {}, (False, True)),
        (SELECTED, {"a": (80.5, 81.5)}, None),
    ],
)
def test_another_text_and_fresh_seeds_each_take_their_own_luck_away(metric, fresh, bias):
    items = confirmed_search({"a": (80.0, 81.0), "b": (82.0, 83.0)}, fresh, metric=metric)
    found = selection_bias_of(items)
    assert (None if found is None else (found.of_text, found.of_seeds)) == bias


# --- in the report ------------------------------------------------------------------------------------

SEARCH = {"0.9": 80.0, "0.95": 82.0, "0.99": 90.0, "0.999": 99.0}
AGAIN = {"0.9": 83.0, "0.95": 84.5, "0.99": 90.0}
WOBBLE = (-0.5, 0.2, 0.3, -0.1, 0.1)
OTHER_WOBBLE = {"0.9": WOBBLE, "0.95": WOBBLE[::-1], "0.99": (0.4, -0.5, 0.2, -0.3, 0.2)}


@pytest.fixture(scope="module")
def found(writer, store, trial) -> Analysis:
    learned = [
        trial("maskpro", seed, mean + WOBBLE[seed], 120.0, {"alpha": alpha, "initial_mask": "wanda"}, residual=[0.0])
        for alpha, mean in SEARCH.items()
        for seed in range(3)
    ]
    again = [
        trial(
            "maskpro",
            3 + seed,
            None if (alpha, seed) == ("0.99", 4) else AGAIN[alpha] + wobble,
            None if (alpha, seed) == ("0.99", 4) else 120.0,
            {"alpha": alpha, "initial_mask": "wanda"},
            residual=[0.0],
            status="diverged" if (alpha, seed) == ("0.99", 4) else "finished",
            tags=FRESH,
        )
        for alpha, own in OTHER_WOBBLE.items()
        for seed, wobble in enumerate(own)
    ]
    rules = [trial("wanda", 0, 120.0, role="baseline")]
    rules += [trial("random", seed, 200.0 + WOBBLE[seed], role="baseline") for seed in range(2)]
    rules += [trial("random", 3 + seed, 201.0 + own, role="baseline", tags=FRESH) for seed, own in enumerate(WOBBLE)]
    writer.launch("confirmed", [*learned, *again, *rules], name="confirmed-1")
    return analyse(store, runs=collect(store, study="confirmed"))


def tables(found):
    return {table.key: table for table in comparison_tables(found)}


def test_fresh_seeds_count_in_nothing_of_the_search(found):
    tried = searched(found.configurations)
    assert [round(item.value.mean, 6) for item in tried] == list(SEARCH.values())
    assert [item.value.n for item in tried] == [3] * 4
    assert all(item.is_complete for item in found.configurations)
    assert sorted(ranks(found.configurations).values()) == [1, 2, 3, 4]
    assert looked_at(found.configurations) == dict.fromkeys((item.key for item in tried), 4)
    assert importance_of(found.configurations).configurations == 4
    (winner,) = found.winners.values()
    assert len(winner.complete) == 3
    caveats = " ".join(caveats_of(found))
    assert "diverged, " not in caveats
    assert "1 of 20 runs on fresh seeds did not finish" in caveats
    assert "fresh seeds do not show how much of its result this text alone makes" in caveats


def test_their_cost_is_part_of_the_total(found):
    assert total_of(found.configurations).runs == len(found.runs.trials) == 35


def test_the_headline_rests_on_fresh_seeds(found):
    best = searched(found.configurations)[0]
    first, gain, place, outcomes, *_ = headline_of(found.runs, configurations=found.configurations)
    assert first.startswith(
        f"Best of 4 configurations by the search: maskpro with alpha=0.9 ({best.key}) reaches perplexity 83.00 ± 0.39 "
        "(5 seeds) on fresh seeds; tests at 5%, corrected after Holm, find it better than both other finalists."
    )
    assert "Its mean in the search, 80.0 ± 1.1 (3 seeds), is 3.00 lower than that on fresh seeds" in first
    assert gain.startswith("That is 37.00 lower (better) than its own initial mask (wanda, 120.00)")
    assert "37.00 lower (better: p < 0.001, 5 seeds) than the wanda mask's 120.00 (one seed)" in place
    assert outcomes.endswith("Of these, 20 runs on fresh seeds.")
    sure = verdict_sentences(found)[0]
    assert sure.startswith("Of the 5 masks compared on fresh seeds, maskpro (best of 4) is best.")


def test_the_table_shows_the_search_beside_fresh_seeds(found):
    table = tables(found)["confirmation"]
    assert [row.cells[0].value for row in table.rows] == ["maskpro"] * 3 + ["random"]
    assert [round(cell.value, 6) for cell in table.column("fresh")] == [83.0, 84.5, 89.95, 201.0]
    assert [round(cell.value, 6) for cell in table.column("optimism")] == [-3.0, -2.5, 0.05, -1.15]
    assert [cell.value for cell in table.column("seeds")] == ["5", "5", "4 of 5", "5"]
    assert [cell.value for cell in table.column("verdict")] == ["selected", "worse", "worse", "not compared"]
    rivals = tables(found)["rivals"]
    assert [cell.value for cell in rivals.column("mask")] == [
        "maskpro, alpha=0.95, on fresh seeds",
        "maskpro, alpha=0.99, on fresh seeds",
        "wanda",
        "random, on fresh seeds",
    ]
    assert "before these fresh seeds ran" in rivals.notes[-1]
    summary = tables(found)["summary"]
    assert [cell.value for cell in summary.column("looked_at") if cell.value] == [4]
    assert [round(cell.value, 6) for cell in summary.column("fresh") if cell.value] == [120.0, 201.0, 83.0]
    assert [cell.mark for cell in summary.column("fresh")] == ["second", "", "", "best"]
    assert {cell.mark for cell in summary.column(METRIC)} == {""}, "the search selected by these means"
    parts = [cell.value for cell in tables(found)["runs"].column("part")]
    assert parts.count("confirmation") == 20


def test_accuracies_of_the_seeds_of_the_search_have_no_marks(writer, store, trial):
    """They are means of the runs that selected, whatever the task says of them."""
    runs = [
        trial(
            "maskpro",
            seed,
            80.0 + shift + WOBBLE[seed % 3],
            params={"alpha": alpha},
            tags=tags,
            metrics={"eval/quiz/acc": 0.6 - shift / 20 + WOBBLE[seed % 3] / 100},
        )
        for alpha, shift in (("0.9", 0.0), ("0.95", 3.0))
        for seeds, tags in (((0, 1, 2), {}), ((3, 4, 5), FRESH))
        for seed in seeds
    ]
    rules = [trial("wanda", 0, 99.0, role="baseline", metrics={"eval/quiz/acc": 0.3})]
    writer.launch("quizzed", [*runs, *rules], name="quizzed-1")
    summary = tables(analyse(store, runs=collect(store, study="quizzed")))["summary"]
    (task,) = [column for column in summary.columns if column.key == "eval/quiz/acc"]
    assert task.title.endswith(" in the search")
    assert {cell.mark for cell in summary.column("eval/quiz/acc")} == {""}
    assert "best" in {cell.mark for cell in summary.column("fresh")}


def test_the_document_holds_the_verdict(found, store):
    (winner,) = document_of(store, study="confirmed").winners
    assert winner["looked_at"] == 4
    assert winner["fresh"]["verdict"] == FreshVerdict.BETTER
    assert [own["fresh_seeds"] for own in winner["fresh"]["finalists"]] == [5, 5, 4]


def test_seeds_that_never_began_are_missing(writer, store, trial):
    tagged = {0: {}, 2: FRESH, 3: FRESH}
    runs = [
        trial("maskpro", seed, 80.0 + seed, 120.0, {"alpha": "0.9"}, residual=[0.0], tags=tags)
        for seed, tags in tagged.items()
    ]
    tags = {run_tags.CONFIRMATION_SEEDS: "2,3,4"}
    writer.launch("confirming", runs, name="confirming-1", tags=tags)
    found = analyse(store, runs=collect(store, study="confirming"))
    (item,) = found.configurations
    assert (item.runs_in_all, item.confirmation.runs_in_all, item.confirmation.is_complete) == (1, 3, False)
    caveats = " ".join(caveats_of(found))
    assert "1 of 3 runs on fresh seeds did not finish" in caveats
    assert "only one finished seed" not in caveats, "two fresh ones show how far seeds differ"

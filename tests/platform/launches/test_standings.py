"""The best so far is a complete configuration with its mean over seeds, beside the best baseline of its pattern."""

import math

import pytest

from nmlab.platform.launches.standings import Entrant, OnFreshSeeds, Standing, plain, read_standing, standings


def seeds(name, *values, role="search", pattern="2:4", replicates=3, **more):
    return [Entrant(name, f"maskpro {name}", pattern, role, replicates, value, **more) for value in values]


def texts(*entrants, mode="min"):
    found = standings([one for group in entrants for one in group], mode=mode, metric="eval/perplexity")
    return [item.text for item in found]


def test_one_lucky_seed_is_not_the_best():
    lucky, steady = seeds("lucky", 1.0, 90.0, 90.0), seeds("steady", 30.0, 31.0, 32.0)
    assert texts(lucky, steady) == ["best so far: maskpro steady 31 (mean of 3 seeds)"]


def test_an_incomplete_configuration_does_not_count():
    assert texts(seeds("half", 1.0, 1.0, None), seeds("whole", 5.0, 5.0, 5.0)) == [
        "best so far: maskpro whole 5 (mean of 3 seeds)"
    ]
    assert texts(seeds("half", 1.0)) == []
    assert texts(seeds("gone", 1.0, math.nan, 1.0)) == []


def test_the_best_baseline_stands_beside_it_and_dense_beside_nothing():
    rules = [
        *seeds("wanda", 40.0, role="baseline", replicates=1),
        *seeds("magnitude", 50.0, role="baseline", replicates=1),
        *seeds("dense", 1.0, role="dense", replicates=1),
    ]
    assert texts(rules) == ["best baseline: maskpro wanda 40"]
    assert texts(rules, seeds("a", 30.0, replicates=1)) == [
        "best so far: maskpro a 30 (one seed); best baseline: maskpro wanda 40"
    ]


def test_patterns_are_not_compared_and_higher_may_be_better():
    two = seeds("a", 0.5, 0.7, replicates=2), seeds("b", 0.9, 0.1, replicates=2, pattern="4:8")
    assert texts(*two, mode="max") == [
        "best so far: maskpro a 0.6 (mean of 2 seeds)",
        "best so far: maskpro b 0.5 (mean of 2 seeds)",
    ]


def test_a_standing_survives_a_snapshot():
    (standing,) = standings(seeds("a", 1.0, 2.0, 3.0), mode="min")
    assert read_standing(plain(standing)) == standing == Standing("2:4", "maskpro a", 2.0, 3)


SEARCHED = (*seeds("a", 30.0, 31.0, 32.0), *seeds("b", 32.0, 32.0, 32.0), *seeds("c", 40.0, None, None))


def fresh(name, *values, replicates=2, **more):
    return seeds(name, *values, replicates=replicates, is_confirmation=True, **more)


def test_the_best_by_its_search_mean_stays_the_best_whatever_fresh_seeds_say():
    (text,) = texts(SEARCHED, fresh("a", 38.0, 39.0), fresh("b", 33.0, 34.0))
    assert text == "best of 3 configurations: maskpro a, eval/perplexity 38.5 on 2 fresh seeds (search mean 31)"


def test_values_on_fresh_seeds_complete_no_configuration():
    assert texts(seeds("half", 30.0, 31.0), fresh("half", 30.0, 30.0)) == []


@pytest.mark.parametrize(
    ("on_fresh", "said"),
    [
        (fresh("a", 38.0), "1 of 2 fresh seeds have ended"),
        ([*fresh("a", 38.0), *fresh("a", None, ended=False)], "1 of 2 fresh seeds have ended"),
        (fresh("a", 38.0, None), "eval/perplexity 38 on 1 of 2 fresh seeds"),
        (fresh("a", None, None), "none of 2 fresh seeds finished"),
        (fresh("a", 38.0, replicates=1), "eval/perplexity 38 on 1 fresh seed"),
        (fresh("b", 33.0, 34.0), "not confirmed"),
    ],
)
def test_how_far_a_confirmation_is_stands_beside_the_search_mean(on_fresh, said):
    assert texts(SEARCHED, on_fresh) == [f"best of 3 configurations: maskpro a, {said} (search mean 31)"]


def test_a_baseline_is_shown_on_the_same_fresh_seeds():
    rules = seeds("random", 33.0, 34.0, 35.0, role="baseline")
    (text,) = texts(SEARCHED, rules, fresh("a", 38.0, 39.0), fresh("random", 36.0, 37.0, role="baseline"))
    assert text.endswith("; best baseline: maskpro random, eval/perplexity 36.5 on 2 fresh seeds")
    (text,) = texts(SEARCHED, rules, fresh("a", 38.0, 39.0), fresh("random", 36.0, role="baseline"))
    assert text.endswith("; best baseline: maskpro random 34"), "not before it is confirmed"


def test_a_confirmed_standing_survives_a_snapshot_and_one_that_is_not_is_written_as_before():
    everything = [*SEARCHED, *seeds("r", 5.0, 5.0, 5.0, role="baseline"), *fresh("a", 1.0, 2.0)]
    (standing,) = standings([*everything, *fresh("r", 6.0, 6.0, role="baseline")], mode="min", metric="m")
    assert read_standing(plain(standing)) == standing
    assert standing.fresh == OnFreshSeeds(metric="m", planned=2, ended=2, finished=2, mean=1.5)
    (before,) = standings(SEARCHED, mode="min", metric="m")
    assert set(plain(before)) == {"pattern", "label", "mean", "seeds", "baseline", "baseline_mean"}

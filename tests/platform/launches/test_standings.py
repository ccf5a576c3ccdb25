"""The best so far is a complete configuration with its mean over seeds, beside the best baseline of its pattern."""

import math
from dataclasses import replace

from nmlab.platform.launches.standings import Entrant, Standing, plain, read_standing, standings


def seeds(name, *values, role="search", pattern="2:4", replicates=3):
    return [Entrant(name, f"maskpro {name}", pattern, role, replicates, value) for value in values]


def texts(*entrants, mode="min"):
    return [item.text for item in standings([one for group in entrants for one in group], mode=mode)]


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


def test_fresh_seeds_do_not_count():
    fresh = [replace(own, is_confirmation=True) for own in seeds("a", 1.0, 1.0, 1.0, 1.0, 1.0)]
    assert texts(seeds("a", 30.0, 31.0, 32.0), fresh) == ["best so far: maskpro a 31 (mean of 3 seeds)"]
    assert texts(seeds("a", 30.0, 31.0), fresh) == [], "a search that lacks a seed is not completed by them"

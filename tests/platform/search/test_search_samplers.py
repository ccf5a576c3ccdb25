"""The samplers: one for each algorithm that studies can name, and the even cover of quasi-random points."""

from itertools import islice
from typing import get_args

import pytest
from sources import ROOT

from nmlab.platform.search.samplers import SAMPLERS, first_points
from nmlab.platform.search.samplers.qmc import quasi_random_point
from nmlab.platform.search.strategies import OptunaStrategy, strategy_of
from nmlab.platform.search.strategy_protocol import Outcome
from nmlab.platform.testing import study_of
from nmlab.platform.testing.searcher_conformance import RANGES
from nmlab.search_spaces import loader
from nmlab.search_spaces.schema.algorithms import ALGORITHMS, AlgorithmName

pytestmark = pytest.mark.filterwarnings("error::UserWarning", "ignore::optuna.exceptions.ExperimentalWarning")
ONE_RATE = "{learning_rate: {uniform: [0, 16]}, masks_per_step: {int: [1, 16]}}"


def proposals(study, journal):
    strategy = strategy_of(study, journal=journal)
    while (proposal := strategy.next()) is not None:
        yield proposal.configuration
        strategy.tell(proposal.number, Outcome([1.0]))


def test_every_algorithm_that_studies_can_name_has_a_sampler():
    assert ALGORITHMS.keys() == set(get_args(AlgorithmName))
    assert SAMPLERS.keys() == ALGORITHMS.keys() - {"grid"}


def test_every_algorithm_that_learns_draws_first_points_without_outcomes_and_no_other_does():
    for name in SAMPLERS:
        search = study_of(name, space=RANGES.replace(", when: {estimator: tracked}", ""), samples=30).search
        assert (first_points(search, configurations=30) < 30) == ALGORITHMS[name].learns


def test_sixteen_quasi_random_points_have_one_in_each_sixteenth_of_every_range(tmp_path):
    study = study_of("qmc", space=ONE_RATE, samples=16)
    made = list(proposals(study, tmp_path / "journal"))
    assert sorted(int(each["learning_rate"]) for each in made) == list(range(16))
    assert sorted(each["masks_per_step"] for each in made) == list(range(1, 17))


def test_another_seed_of_the_search_gives_another_sequence():
    study = study_of("qmc", space=RANGES)
    other = study_of("qmc", space=RANGES, more="seed: 1")
    assert quasi_random_point(study, place=3) == quasi_random_point(study, place=3)
    assert quasi_random_point(study, place=3) != quasi_random_point(other, place=3)


def test_tpe_begins_with_the_quasi_random_points_and_then_goes_its_own_way(tmp_path):
    study = study_of("tpe", space=ONE_RATE, samples=8, more="startup: qmc")
    first = first_points(study.search, configurations=8)
    points = [quasi_random_point(study, place=place) for place in range(8)]
    made = [{name: each[name] for name in points[0]} for each in islice(proposals(study, tmp_path / "journal"), 8)]
    assert made[:first] == points[:first]
    assert made[first:] != points[first:]


def test_a_point_that_was_enqueued_before_a_death_is_proposed_once(tmp_path):
    """A process dies between the two writes of a proposal; the next one proposes what it would have."""
    study = study_of("qmc", space=ONE_RATE, samples=4)
    undisturbed = [each.configuration for each in iter(OptunaStrategy(study, journal=tmp_path / "whole").next, None)]
    strategy = OptunaStrategy(study, journal=tmp_path / "disturbed")
    strategy._enqueue(quasi_random_point(study, place=0))
    again = OptunaStrategy(study, journal=tmp_path / "disturbed")
    assert [each.configuration for each in iter(again.next, None)] == undisturbed


def test_the_name_of_the_optuna_study_can_be_chosen(tmp_path):
    study = loader.load("quickstart")
    first = OptunaStrategy(study, journal=tmp_path / "journal", name="quickstart-2")
    first.next()
    assert len(OptunaStrategy(study, journal=tmp_path / "journal", name="quickstart-2").open()) == 1
    assert OptunaStrategy(study, journal=tmp_path / "journal").open() == []


def test_the_guide_lists_every_algorithm_with_its_summary():
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    for name, algorithm in ALGORITHMS.items():
        assert f"| `{name}` | {algorithm.summary} |" in guide

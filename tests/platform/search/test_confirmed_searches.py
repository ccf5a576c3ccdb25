"""Searches over given curves that are confirmed: the winner's curse is gone, and a kill changes nothing."""

import hashlib
import math
import random
from statistics import fmean, stdev

import pytest
from simulated import METRIC, KilledError, SimulatedSweep

from nmlab.platform.records.events import ConfirmationChosen, TrialEnded
from nmlab.platform.search.confirmation import confirmations_of

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
TRUE_MEAN, REPETITIONS = 30.0, 60
EQUAL = (
    "search={algorithm: grid, confirm: {top: 2, seeds: 3}}",
    "space={alpha: {grid: [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99]}}",
    "fixed={steps: 10}",
    "seeds=[0, 1]",
    "baselines=[random]",
)


def drawn(*names):
    return random.Random(hashlib.sha256(f"{names}".encode()).digest())


def choice_of(sweep):
    (choice,) = [record for record in sweep.journal if isinstance(record, ConfirmationChosen)]
    return choice


def best_twice(plan, folder, *, repetition):
    """Return the search mean of the best configuration of a search among equal ones, and its mean on fresh seeds."""

    def curve(spec):
        return {0: 50.0, 10: drawn(repetition, spec.key).gauss(TRUE_MEAN, 1.0)}

    sweep = SimulatedSweep(plan, folder, curve=curve)
    sweep.drive()
    choice = choice_of(sweep)
    best = choice.chosen[0]
    trials = [trial.spec for trial in confirmations_of([choice]).trials.values()]
    keys = [spec.key for spec in trials if spec.configuration == best["configuration"]]
    assert len(keys) == 3
    return best["mean"], fmean(sweep.results[key]["metrics"][METRIC] for key in keys)


def bias(values):
    """Return the mean distance from the truth in its standard errors."""
    return (fmean(values) - TRUE_MEAN) / (stdev(values) / math.sqrt(len(values)))


def test_the_search_mean_of_the_best_of_equals_is_optimistic_and_its_mean_on_fresh_seeds_is_not(plan_of, tmp_path):
    plan = plan_of(*EQUAL)
    pairs = [best_twice(plan, tmp_path, repetition=repetition) for repetition in range(REPETITIONS)]
    searched, confirmed = zip(*pairs, strict=True)
    assert bias(searched) < -8, "the best of eight equal ones is about a standard deviation too good"
    assert abs(bias(confirmed)) < 3


SEARCHED = (
    "space={alpha: {choice: [0.9, 0.95, 0.97, 0.99]}, learning_rate: {loguniform: [0.1, 10]}}",
    "fixed.steps=50",
    "baselines=[wanda, random]",
    "intervals={evaluate_every: 10}",
    "search={algorithm: tpe, samples: 6, scheduler: asha, grace_period: 10, confirm: {top: 2, seeds: 2}}",
    "seeds=[0, 2]",
)


def falling(spec):
    """Return a curve that falls at the pace of its configuration; fresh seeds are far above all others."""
    if spec.method != "maskpro":
        return {0: 50.0}
    pace, noise = drawn(spec.configuration).random(), drawn(spec.key).random()
    worse = 300.0 if spec.seed in (1, 3) else 0.0
    return {step: worse + 100 * math.exp(-pace * step / 50) + (noise if step else 0) for step in range(0, 51, 10)}


def driven(plan, folder, *, killed_after=None):
    folder.mkdir()
    sweep = SimulatedSweep(plan, folder, curve=falling)
    if killed_after is not None:
        with pytest.raises(KilledError):
            sweep.drive(records=killed_after)
    sweep.drive()
    ended = [record.key for record in sweep.journal if isinstance(record, TrialEnded)]
    assert len(ended) == len(set(ended)) == plan.search_trials + len(confirmations_of(sweep.journal).trials)
    return sweep


@pytest.mark.slow
def test_a_kill_at_any_point_changes_neither_the_choice_nor_what_the_search_learns(plan_of, tmp_path):
    plan = plan_of(*SEARCHED)
    whole = driven(plan, tmp_path / "whole")
    confirmed = confirmations_of(whole.journal).trials
    assert len(confirmed) == 3 * 2
    assert {whole.results[key]["status"] for key in confirmed} == {"finished"}
    assert {result["status"] for result in whole.results.values()} == {"finished", "stopped"}
    for records in range(0, len(whole.journal), 3):
        sweep = driven(plan, tmp_path / str(records), killed_after=records)
        assert choice_of(sweep) == choice_of(whole), f"killed after {records} records"
        assert sweep.results == whole.results, f"killed after {records} records"
        assert sweep.optuna_trials == whole.optuna_trials, f"killed after {records} records"

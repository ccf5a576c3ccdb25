"""Searches that learn, and stop early, in the simulated backend: nothing of what confirms them reaches the search."""

import math

import optuna
import pytest
from confirmed import choices, confirming, finished, has_chosen
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nmlab.platform.testing.simulation import SimulatedLaunch, check_launch
from nmlab.trials.contract.run_status import TrialStatus

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
FRESH = [1, 3]
RATES = [0.3, 0.1, 0.03, 0.01, 0.001, 0.00001]
EARLY = (
    "fixed={steps: 60, logit_magnitude: 4.0}",
    f"space={{learning_rate: {{choice: {RATES}}}}}",
    "seeds=[0, 2]",
    "baselines=[random]",
    "intervals={evaluate_every: 10, checkpoint_every: 10, log_every: 1}",
    "replica={count: 1, slots: 2}",
)


def search_of(algorithm, *, confirm=True):
    points = [{"learning_rate": rate} for rate in RATES]
    more = ", confirm: {top: 2, seeds: 2}" if confirm else ""
    return f"search={{algorithm: {algorithm}, samples: 6, scheduler: asha, initial_points: {points}{more}}}"


def by_rate(spec):
    """Return curves that fall the faster the higher the rate is; on fresh seeds all are the worst of all."""
    rate = spec.hyperparameters.get("learning_rate", 1.0)
    gain = 0.0 if rate < 1e-4 else 5.0 + math.log10(rate)
    worse = 500.0 if spec.seed in FRESH else 0.0
    steps = int(spec.hyperparameters.get("steps", 0))
    return {step: worse + 100.0 - gain * step / 10 for step in range(0, steps + 1, 10)}


def optuna_trials(launch):
    storage = JournalStorage(JournalFileBackend(str(launch.launch.optuna_journal)))
    trials = optuna.load_study(study_name=launch.plan.study.name, storage=storage).trials
    return [
        (trial.user_attrs.get("nmlab:configuration"), trial.state, trial.values, trial.intermediate_values)
        for trial in trials
    ]


@pytest.mark.parametrize("algorithm", ["random", "tpe"])
def test_neither_optuna_nor_the_scheduler_learns_from_a_confirmation(small_plan, in_memory, algorithm):
    """Its trials are worse than any other, and none is stopped; the search is what it is without them."""
    launches = []
    for confirm in (True, False):
        plan = small_plan(*EARLY, search_of(algorithm, confirm=confirm))
        where = in_memory / str(confirm)
        with SimulatedLaunch(plan, where, seed=0, curve=by_rate, seconds=(0.02, 0.1)) as launch:
            finished(launch)
            launches.append((launch, optuna_trials(launch)))
    (launch, told), (_, told_without) = launches
    assert told == told_without
    confirmed = confirming(launch)
    assert len(confirmed) == 6
    assert {end["status"] for end in confirmed.values()} == {TrialStatus.FINISHED}
    assert TrialStatus.STOPPED in {end["status"] for end in launch.ended().values()}, "the search stopped none"
    rates = [each["spec"]["hyperparameters"].get("learning_rate") for each in choices(launch)[-1].chosen]
    assert rates == [0.3, 0.1, None]


@pytest.mark.parametrize("seed", range(2))
def test_a_search_with_a_scheduler_is_confirmed_across_kills(small_plan, in_memory, seed):
    plan = small_plan(*EARLY, search_of("tpe"))
    with SimulatedLaunch(plan, in_memory, seed=seed, curve=by_rate, seconds=(0.02, 0.1)) as launch:
        launch.start()
        launch.run_until(lambda: any(end["status"] == TrialStatus.STOPPED for end in launch.ended().values()))
        launch.kill_driver()
        launch.start()
        launch.run_until(lambda: has_chosen(launch))
        launch.kill_driver()
        launch.start()
        launch.run_until(lambda: len(confirming(launch)) >= 2)
        launch.kill_worker()
        launch.finish()
        check_launch(launch)
        assert {end["status"] for end in confirming(launch).values()} == {TrialStatus.FINISHED}

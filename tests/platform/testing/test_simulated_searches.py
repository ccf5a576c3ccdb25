"""A search in the simulated backend that stops configurations early, while its driver and a replica die."""

import math
from collections import defaultdict

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nmlab.platform.records.events import TrialSubmitted
from nmlab.platform.testing.simulation import SimulatedLaunch, check_launch
from nmlab.trials.contract.run_status import TrialStatus

RATES = [0.3, 0.1, 0.03, 0.001, 0.00001]
POINTS = [{"learning_rate": rate} for rate in RATES]
EARLY = (
    "fixed={steps: 60, logit_magnitude: 4.0}",
    f"space={{learning_rate: {{choice: {RATES}}}}}",
    f"search={{algorithm: random, samples: 5, scheduler: asha, initial_points: {POINTS}}}",
    "baselines=[magnitude]",
    "intervals={evaluate_every: 10, checkpoint_every: 10, log_every: 1}",
    "replica={count: 1, slots: 2}",
)


def by_rate(spec):
    """Return curves that fall the faster the higher the learning rate is; that of the smallest one does not move."""
    rate = spec.hyperparameters.get("learning_rate", 1.0)
    gain = 0.0 if rate < 1e-4 else 5.0 + math.log10(rate)
    return {step: 100.0 - gain * step / 10 for step in range(0, int(spec.hyperparameters.get("steps", 0)) + 1, 10)}


def optuna_trials(launch):
    storage = JournalStorage(JournalFileBackend(str(launch.launch.optuna_journal)))
    trials = optuna.load_study(study_name=launch.plan.study.name, storage=storage).trials
    return [trial for trial in trials if "nmlab:configuration" in trial.user_attrs]  # one may have been cut short


@pytest.mark.parametrize("search", ["tpe, startup: qmc", "qmc", "gp, startup: qmc"])
def test_a_search_that_is_killed_has_the_outcomes_of_all_its_configurations(small_plan, in_memory, search):
    """The driver dies once a configuration has ended; every other algorithm goes through the same code."""
    space = "space={learning_rate: {loguniform: [0.001, 0.3]}}"
    wanted = f"search={{algorithm: {search}, samples: 6, constraints: {{eval/perplexity: {{max: 99}}}}}}"
    settings = (*EARLY[:1], space, wanted, *EARLY[3:])
    with SimulatedLaunch(small_plan(*settings), in_memory, seed=0, curve=by_rate, seconds=(0.02, 0.1)) as launch:
        launch.start()
        launch.run_until(lambda: len(launch.ended()) >= 3)
        launch.kill_driver()
        launch.start()
        launch.finish()
        check_launch(launch)
        trials = optuna_trials(launch)
        assert [trial.state.name for trial in trials] == ["COMPLETE"] * 6
        assert all(trial.constraints.keys() == {"eval/perplexity"} for trial in trials)


@pytest.mark.parametrize("seed", range(4))
def test_configurations_that_fall_behind_are_stopped_as_a_whole_across_a_kill(small_plan, in_memory, seed):
    """The driver dies after the first stop, and a replica later; Optuna has the outcome of every configuration."""
    with SimulatedLaunch(small_plan(*EARLY), in_memory, seed=seed, curve=by_rate, seconds=(0.02, 0.1)) as launch:
        launch.start()
        launch.run_until(lambda: any(end["status"] == TrialStatus.STOPPED for end in launch.ended().values()))
        launch.kill_driver()
        launch.start()
        launch.run_until(lambda: is_going_on(launch) or not launch.is_running)
        launch.kill_worker()
        launch.finish()
        check_launch(launch)
        statuses = statuses_by_rate(launch)
        assert statuses[1e-05] == {TrialStatus.STOPPED}, "it does not move from its start while four others learn"
        assert statuses[0.3] == statuses[0.1] == statuses[0.03] == {TrialStatus.FINISHED}, "fewer than four stop none"
        assert not any({TrialStatus.STOPPED, TrialStatus.FINISHED} <= found for found in statuses.values())
        check_outcomes(launch, statuses)
        stopped = [end for end in launch.ended().values() if end["status"] == TrialStatus.STOPPED]
        assert all("its mean over 2 seeds is" in end["reason"] and not end["resumable"] for end in stopped)


def submitted(launch):
    return [record for record in launch.written if isinstance(record, TrialSubmitted)]


def is_going_on(launch):
    """Return whether a trial runs that has a checkpoint."""
    return any(key not in launch.ended() for key in launch.trials.checkpoints)


def statuses_by_rate(launch):
    specs, found = {record.key: record.spec for record in submitted(launch)}, defaultdict(set)
    for key, end in launch.ended().items():
        if (rate := specs[key]["hyperparameters"].get("learning_rate")) is not None:
            found[rate].add(end["status"])
    return dict(found)


def check_outcomes(launch, statuses):
    """Check that finished configurations are complete with their mean, and stopped ones pruned with their curve."""
    trials = {trial.user_attrs["nmlab:configuration"]["learning_rate"]: trial for trial in optuna_trials(launch)}
    assert trials.keys() == statuses.keys()
    for rate, trial in trials.items():
        if statuses[rate] == {TrialStatus.STOPPED}:
            assert trial.state.name == "PRUNED"
            assert 10 in trial.intermediate_values
        else:
            assert (trial.state.name, trial.value) == ("COMPLETE", 100.0 - 6 * (5.0 + math.log10(rate)))

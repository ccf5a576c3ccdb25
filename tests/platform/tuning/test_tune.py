"""The Tune run of a sweep, with a real Ray and a dispatcher that kills trial actors: no trial is lost with one."""

import os
import signal
from pathlib import Path

import optuna
import pytest
import ray
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nmlab.platform.cluster.session import NAMESPACE, cluster
from nmlab.platform.dispatch.messages import TrialUpdate
from nmlab.platform.search.strategies import strategy_of
from nmlab.platform.tuning.tune import TuneWatch, tune_trials

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

NAME = "deadly-dispatcher"


class DeadlyDispatcher:
    """A dispatcher that ends every trial at once, and kills some of the actors that are given another trial."""

    def __init__(self, victims):
        self._victims, self._turns, self._submitted = victims, 0, []

    def submit(self, key, *, spec, times_leased):
        self._submitted.append(key)
        for caller in reused_actors():  # one at most, as one trial runs at a time
            self._turns += 1
            if self._turns in self._victims:
                os.kill(caller, signal.SIGKILL)

    def pull(self, key, *, after, within):
        return TrialUpdate(points=(), ended=ENDED, times_leased=0)

    def submitted(self):
        return self._submitted


ENDED = {"status": "finished", "reason": "", "step": 4, "metrics": {"eval/perplexity": 10.0}}


def reused_actors():
    """Return the trial actors of this cluster that are given another trial, by Ray's titles of their processes."""
    return [int(pid.name) for pid in Path("/proc").glob("[0-9]*") if is_sibling(pid, "ray::TrialActor.reset")]


def is_sibling(pid, title):
    """Return whether a process has this title, and was started by the raylet that started this one."""
    try:
        parent = int((pid / "stat").read_text().rpartition(")")[2].split()[1])
        return parent == os.getppid() and (pid / "cmdline").read_bytes().decode(errors="replace").startswith(title)
    except OSError:
        return False  # it ended while we looked


def test_a_trial_whose_actor_dies_before_it_is_begun_is_begun_by_another(plan_of, tmp_path, capfd):
    """Tune gives such a trial up: it counts the death of a reused actor twice. What confirms the search follows."""
    plan, lost = plan_of("budget.max_concurrent=1", "search.algorithm=random"), []
    strategy = strategy_of(plan.study, journal=tmp_path / "optuna.journal")
    fresh, before = [spec.model_copy(update={"seed": 7}) for spec in plan.baselines[1:]], []
    with cluster(cpus=1):
        dispatcher = ray.remote(num_cpus=0)(DeadlyDispatcher).options(name=NAME, namespace=NAMESPACE).remote({1, 4})

        def after_search():
            before.append(set(ray.get(dispatcher.submitted.remote())))
            return fresh

        watch = TuneWatch(lambda: None, lambda key, error: lost.append(key), after_search=after_search)
        tune_trials(
            plan, strategy, dispatcher=NAME, ended={}, evaluated={}, stopped_early=(), folder=tmp_path, watch=watch
        )
        submitted = ray.get(dispatcher.submitted.remote())
    assert len(set(submitted)) == plan.trials + len(fresh)
    assert [len(keys) for keys in before] == [plan.trials], "the confirmation is chosen once, after the search"
    assert not before[0] & {spec.key for spec in fresh}
    assert len(lost) == 2
    assert len(set(lost)) == 2
    assert outcomes(tmp_path / "optuna.journal", plan.study.name) == [TrialState.COMPLETE] * plan.configurations
    assert "ERROR" not in capfd.readouterr().err


def outcomes(journal, study):
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return [trial.state for trial in optuna.load_study(study_name=study, storage=storage).trials]

"""A driver dies between any two writes of a search: the next one goes on, and Optuna gets the true outcomes."""

import hashlib
import itertools

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search import Searcher

from nmlab.platform.search.optuna_journal import OptunaJournalFile
from nmlab.platform.search.strategies import strategy_of
from nmlab.platform.tuning.searcher import ReplicateSearcher

pytestmark = pytest.mark.filterwarnings("error::UserWarning", "ignore::optuna.exceptions.ExperimentalWarning")
METRIC = "eval/perplexity"
STEPS = (2, 4, 6)
SEARCH = (
    "space={alpha: {choice: [0.9, 0.95, 0.99]}, learning_rate: {loguniform: [0.1, 10]}}",
    "search.samples=5",
    "search.initial_points=[{alpha: 0.99, learning_rate: 1.0}]",
    "seeds=[0, 1]",
    "baselines=[]",
    "intervals={evaluate_every: 2}",
)


class DeadError(BaseException):
    """Stands for SIGKILL."""


class Launch:
    """A launch without Ray, whose driver dies after so many writes; two trials at a time, with results by their keys.

    Results are in the launch's own journal (``ended``, ``curves``) before the searcher receives them.
    """

    def __init__(self, plan, folder, *, writes):
        self._plan, self._journal, self._left = plan, folder / "optuna.journal", writes
        self.ended, self.curves, self.stopped = {}, {}, set()

    def drive(self):
        """Run one driver to the end of the search."""
        searcher = self._searcher()
        out, names = {}, itertools.count()
        while True:
            while len(out) < 2:
                config = searcher.suggest(name := f"trial-{next(names)}")
                if config is None or config == Searcher.FINISHED:
                    break
                out[name] = config["key"]
            if not out:
                return
            name, key = out.popitem()
            self._run(searcher, name, key)

    def _run(self, searcher, name, key):
        base = int(hashlib.sha256(key.encode()).hexdigest()[:6], 16) / 1000
        curve = {step: base / step for step in STEPS}
        status = ("finished", "finished", "stopped", "diverged")[int(base) % 4]
        for step in STEPS[: 2 if status == "stopped" else 3]:
            self.curves.setdefault(key, {})[step] = curve[step]
            searcher.on_trial_result(name, {"step": step, METRIC: curve[step]})
        last = {"status": status, "step": max(self.curves[key]), METRIC: curve[max(self.curves[key])], "cost/tokens": 8}
        self.ended[key] = last
        if status == "stopped":
            self.stopped.add(key)
        searcher.on_trial_complete(name, result=last)

    def _searcher(self):
        search = self._plan.study.search
        return ReplicateSearcher(
            self._plan,
            strategy_of(self._plan.study, journal=self._journal),
            dispatcher="dispatcher",
            namespace="test",
            ended=dict(self.ended),
            evaluated={key: dict(curve) for key, curve in self.curves.items()},
            stopped_early=self.stopped,
            metric_mode=(search.metrics[0], search.modes[0]),
        )

    def write(self, append, logs):
        if self._left == 0:
            raise DeadError
        self._left -= 1
        append(logs)

    @property
    def optuna_trials(self):
        """Return what Optuna has recorded, by configuration: state, value, curve."""
        storage = JournalStorage(JournalFileBackend(str(self._journal)))
        trials = optuna.load_study(study_name="quickstart", storage=storage).trials
        assert not [trial for trial in trials if trial.state in (TrialState.RUNNING, TrialState.WAITING)]
        tried = [trial for trial in trials if "nmlab:configuration" in trial.user_attrs]
        return {
            tuple(sorted(trial.user_attrs["nmlab:configuration"].items())): (
                trial.state.name,
                trial.values,
                trial.intermediate_values,
                trial.constraints,
                {name: value for name, value in trial.user_attrs.items() if name.startswith("seed ")},
            )
            for trial in tried
        }


LATER = {
    "tpe": (),
    "tpe after quasi-random points": ("search.startup=qmc",),
    "qmc": ("search.algorithm=qmc",),
    "constraints": ("search.constraints={eval/perplexity: {max: 5}}",),
    "tpe for two objectives": ("search.metric=[eval/perplexity, cost/tokens]", "search.mode=[min, min]"),
}


@pytest.mark.slow
@pytest.mark.parametrize("later", LATER.values(), ids=LATER)
def test_after_a_death_between_any_two_writes_optuna_has_the_same_outcomes(plan_of, tmp_path, monkeypatch, later):
    """All writes for TPE as studies have it by default; every third where only what is asked of Optuna differs."""
    plan = plan_of(*SEARCH, *later)
    whole, deaths, current = None, 0, []
    append = OptunaJournalFile.append_logs
    monkeypatch.setattr(
        OptunaJournalFile,
        "append_logs",
        lambda self, logs: current[-1].write(lambda logs: append(self, logs), logs),
    )
    for writes in itertools.chain([10_000], itertools.count(start=0 if not later else 1, step=1 if not later else 3)):
        folder = tmp_path / str(writes)
        folder.mkdir()
        launch = Launch(plan, folder, writes=writes)
        current.append(launch)
        try:
            launch.drive()
        except DeadError:
            deaths += 1
            launch._left = 10_000
            launch.drive()
            check(launch, whole, deaths=writes)
        else:
            if whole is not None:
                break
            whole = launch.optuna_trials
            several = len(plan.study.search.metrics) > 1  # Optuna prunes by one objective only
            assert {state for state, *_ in whole.values()} >= {"COMPLETE", "FAIL"} | (set() if several else {"PRUNED"})
    assert deaths > (20 if not later else 10)


def check(launch, whole, *, deaths):
    trials = launch.optuna_trials
    assert len(trials) == len(whole) == 5, f"it died after {deaths} writes"
    assert len(launch.ended) == 10
    for configuration in trials.keys() & whole.keys():
        assert trials[configuration] == whole[configuration], f"it died after {deaths} writes"

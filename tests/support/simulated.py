"""A sweep without Ray: the real searcher, Optuna and early stopping over a journal; the curves of trials are given.

The driver may be killed after any number of records. The next one reads the launch's journal and Optuna's, and goes
on; its trials begin at their last step, as from a checkpoint, and repeat their earlier points.
"""

import itertools
from dataclasses import dataclass

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from ray.tune.search import Searcher

from nmlab.platform.driver.confirm_search import choose
from nmlab.platform.launches.journal import evaluations, trials_ended_for_good
from nmlab.platform.planning.planned_stopping import early_stopping
from nmlab.platform.records.events import TrialEnded, TrialMetrics, TrialSubmitted
from nmlab.platform.search.confirmation import confirmations_of
from nmlab.platform.search.strategies import strategy_of
from nmlab.platform.tuning.searcher import ReplicateSearcher
from nmlab.trials.contract.trial_spec import TrialSpec

METRIC = "eval/perplexity"


class KilledError(BaseException):
    """Stands for SIGKILL."""


@dataclass
class _Running:
    """A trial in a slot: its values by step, and the steps that it has come to."""

    key: str
    curve: dict
    steps: list


class SimulatedSweep:
    """A sweep whose ``curve`` gives a trial's values by step, from step 0 to its end; a trial diverges at a NaN.

    Trials run ``slots`` at a time. The one with the fewest points goes next, so the order depends on the journal.
    """

    def __init__(self, plan, folder, *, curve, slots=3):
        self.plan, self.curve, self.slots = plan, curve, slots
        self.optuna_journal = folder / "optuna.journal"
        self.journal, self.begun, self.decisions = [], [], {}
        self._left = None

    def drive(self, *, records=None):
        """Run one driver to the end of the search, or until it is killed after so many records."""
        self._left = records
        searcher = self._start()
        out, names = {}, itertools.count()
        while True:
            self._fill(searcher, out, names)
            if not out:
                return
            name = min(out, key=lambda name: (len(out[name].steps), self.begun.index(out[name].key)))
            if result := self._advance(out[name], searcher, name):
                del out[name]
                searcher.on_trial_complete(name, result=result)

    def _start(self):
        self.early = early_stopping(self.plan)
        self.early.follow(self.journal)
        self.limits = self.plan.search_limits(self.journal)
        search = self.plan.study.search
        return ReplicateSearcher(
            self.plan,
            strategy_of(self.plan.study, journal=self.optuna_journal),
            dispatcher="dispatcher",
            namespace="test",
            ended=trials_ended_for_good(iter(self.journal)),
            evaluated=evaluations(iter(self.journal), metric=search.metrics[0]),
            stopped_early=self.early.reasons,
            after_search=self._after_search,
            search_limits=self.limits,
            metric_mode=(search.metrics[0], search.modes[0]),
        )

    def _after_search(self):
        """Return the trials that confirm the search; choose them unless the journal tells that it was done."""
        if self.plan.confirmation is None:
            return ()
        if not confirmations_of(self.journal).is_chosen:
            self._record(choose(self.plan, self.journal))
        return [trial.spec for trial in confirmations_of(self.journal).trials.values()]

    def _fill(self, searcher, out, names):
        while len(out) < self.slots:
            config = searcher.suggest(name := f"trial-{next(names)}")
            if config is None or config == Searcher.FINISHED:
                return
            spec = TrialSpec.from_record(config["spec"])
            key = spec.key
            if key not in self.begun:
                self.begun.append(key)
            self._record(TrialSubmitted(key=key, spec=config["spec"]))
            out[name] = _Running(key, self.curve(spec), self._repeated(key))

    def _repeated(self, key):
        """Record the points in the journal again, as a resumed trial does; return their steps."""
        points = {r.step: r for r in self.journal if isinstance(r, TrialMetrics) and r.key == key}
        for record in points.values():
            self._record(record)
        return sorted(points)

    def _advance(self, trial, searcher, name):
        """Take a trial to its next point; return its result if it ends."""
        if trial.key in self.early.reasons:
            return self._end(trial, "stopped", {})
        step = sorted(trial.curve)[len(trial.steps)]
        trial.steps.append(step)
        value = trial.curve[step]
        if value != value:
            return self._end(trial, "diverged", {})
        if step == max(trial.curve):
            return self._end(trial, "finished", {METRIC: value})
        where = METRIC if step else "initial/perplexity"
        self._record(TrialMetrics(key=trial.key, step=step, values={where: value}, time=0))
        if step:
            searcher.on_trial_result(name, {"step": step, METRIC: value})
        return None

    def _end(self, trial, status, metrics):
        reason = self.early.reasons.get(trial.key, "")
        result = {"key": trial.key, "status": status, "step": (trial.steps or [0])[-1], "metrics": metrics}
        self._record(TrialEnded(key=trial.key, result={**result, "reason": reason, "resumable": False}))
        return {**result, **metrics}

    def _record(self, record):
        if self._left == 0:
            raise KilledError
        self._left = None if self._left is None else self._left - 1
        self.journal.append(record)
        self.early.follow([record])
        self.limits.follow([record])

    @property
    def results(self):
        """The result of every trial that has ended, by key."""
        return {record.key: record.result for record in self.journal if isinstance(record, TrialEnded)}

    @property
    def optuna_trials(self):
        """Return Optuna's trials by number: configuration, state, value, intermediate values."""
        storage = JournalStorage(JournalFileBackend(str(self.optuna_journal)))
        trials = optuna.load_study(study_name=self.plan.study.name, storage=storage).trials
        tried = [trial for trial in trials if "nmlab:configuration" in trial.user_attrs]
        return [
            (trial.user_attrs["nmlab:configuration"], trial.state.name, trial.value, trial.intermediate_values)
            for trial in tried
        ]

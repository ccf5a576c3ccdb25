"""Early stopping: follows a launch's journal, compares configurations, and decides which trials are stopped.

Seeds are replicates. A configuration is compared with others on the mean over its seeds, at a step that every seed has
reached, or before which it ended, and it is stopped as a whole. Seeds run on while others catch up. Decisions depend
on the order of the journal and on nothing else, so a process that resumes a launch, and replays its journal, takes the
decisions that the earlier process took.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from nmlab.platform.records.events import (
    ConfirmationChosen,
    GroupRecord,
    JournalRecord,
    LaunchBegan,
    LaunchEnded,
    ReplicaRecord,
    ResultRefused,
    TrialActorLost,
    TrialEnded,
    TrialLeased,
    TrialMetrics,
    TrialSubmitted,
    UnknownRecord,
    WarmStarted,
)
from nmlab.platform.records.payloads import ResultRecord, SpecRecord
from nmlab.platform.search.stopping_rules import ConfigurationAtStep, Rule
from nmlab.trials.contract.declarations import has_phase
from nmlab.trials.contract.metrics import Phase
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.trial_spec import TrialSpec


@dataclass
class _Seeds:
    """The trials of one configuration: the keys of all its seeds, their values and ends in the journal."""

    keys: tuple[str, ...]
    starts: dict[str, float] = field(default_factory=dict)
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    compared: int = 0
    """The last step at which the configuration was compared."""

    def new_steps(self) -> list[int]:
        """Return the steps, ascending, at which every seed now has a value or has ended before."""
        steps = {step for curve in self.curves.values() for step in curve if step > self.compared}
        return [step for step in sorted(steps) if all(self._is_past(key, step) for key in self.keys)]

    def at(self, step: int) -> dict[str, float]:
        """Return the value of each seed at a step: its last one where it finished before.

        A seed that diverged is worse than any value (infinity, as a loss); one that failed is left out.
        """
        found = {}
        for key in self.keys:
            curve, status = self.curves.get(key, {}), self.ended.get(key)
            if step in curve:
                found[key] = curve[step]
            elif status == TrialStatus.FINISHED and curve:
                found[key] = curve[max(curve)]
            elif status == TrialStatus.DIVERGED:
                found[key] = math.inf
        return found

    def has_moved(self, values: Mapping[str, float]) -> bool:
        """Return whether a seed has another value than at its start; one whose start is unknown counts as moved."""
        return any(key not in self.starts or value != self.starts[key] for key, value in values.items())

    def _is_past(self, key: str, step: int) -> bool:
        return key in self.ended or step in self.curves.get(key, {})


class EarlyStopping:
    """Follows a launch's journal and gives the trials that are stopped early, with reasons.

    Args:
        rule: decides; None stops nothing.
        metric: the objective.
        initial: the name under which its value at the start is recorded.
        mode: ``min`` or ``max``.
        seeds: the seeds of every configuration of the search; a trial with another seed confirms it and is not stopped.
        baselines: keys of trials that do not belong to the search.
    """

    def __init__(
        self,
        rule: Rule | None,
        *,
        metric: str,
        initial: str,
        mode: str,
        seeds: Sequence[int],
        baselines: Iterable[str],
    ) -> None:
        self._rule, self._metric, self._initial = rule, metric, initial
        self._sign = 1.0 if mode == "min" else -1.0
        self._seeds, self._baselines = tuple(seeds), frozenset(baselines)
        self._configurations: dict[str, _Seeds] = {}
        self._configuration_of: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        """Why each trial is stopped, by key: all seeds of a configuration that had not ended when it was decided."""

    def follow(self, records: Iterable[JournalRecord]) -> None:
        """Accept records, in the order of the journal."""
        if self._rule is None:
            return
        for record in records:
            match record:
                case TrialSubmitted():
                    self._begin(record.key, record.spec)
                case TrialMetrics():
                    self._note(record.key, record.step, record.values)
                case TrialEnded():
                    self._end(record.key, record.result)
                case TrialLeased() | ResultRefused() | TrialActorLost() | ReplicaRecord() | GroupRecord():
                    pass
                case WarmStarted() | LaunchBegan() | ConfirmationChosen() | LaunchEnded() | UnknownRecord():
                    pass
                case _ as never:
                    assert_never(never)

    def describe(self) -> str:
        """Return in one line when configurations are stopped; "" where none ever is."""
        return "" if self._rule is None else self._rule.describe()

    def _begin(self, key: str, spec: SpecRecord) -> None:
        is_searched = key not in self._baselines and spec["seed"] in self._seeds
        if not is_searched or key in self._configuration_of:
            return
        trial = TrialSpec.from_record(spec)
        keys = tuple(trial.model_copy(update={"seed": seed}).key for seed in self._seeds)
        self._configurations[trial.configuration] = _Seeds(keys)
        self._configuration_of |= dict.fromkeys(keys, trial.configuration)

    def _note(self, key: str, step: int, values: Mapping[str, float]) -> None:
        """Keep a value; a resumed trial repeats points, and the first of each step counts."""
        name = self._configuration_of.get(key)
        if name is None:
            return
        seeds = self._configurations[name]
        if seeds.ended.get(key) == TrialStatus.FAILED:  # a resumed launch tries it again
            del seeds.ended[key]
        if key in seeds.ended:
            return
        if step == 0:  # launches from before `initial/*` have the value at the start under the metric's own name
            start = values.get(self._initial, values.get(self._metric))
            if start is not None:
                seeds.starts.setdefault(key, self._loss(start))
        elif self._metric in values and not has_phase(values, Phase.END):
            seeds.curves.setdefault(key, {}).setdefault(step, self._loss(values[self._metric]))
            self._compare(name)

    def _end(self, key: str, result: ResultRecord) -> None:
        name = self._configuration_of.get(key)
        if name is None or result.get("resumable", False):
            return
        seeds, status = self._configurations[name], result["status"]
        if status == TrialStatus.FINISHED and result["step"] > 0 and self._metric in result["metrics"]:
            last = self._loss(result["metrics"][self._metric])
            seeds.curves.setdefault(key, {}).setdefault(result["step"], last)
        seeds.ended[key] = status
        if status == TrialStatus.STOPPED and key not in self.reasons:  # earlier versions stopped single seeds
            self._stop(name, f"its seed {key} was stopped early: {result['reason']}")
        self._compare(name)

    def _compare(self, name: str) -> None:
        assert self._rule is not None
        seeds = self._configurations[name]
        for step in seeds.new_steps():
            seeds.compared = step
            values = seeds.at(step)
            if not values:
                continue
            mean = math.fsum(values.values()) / len(values)
            reason = self._rule.falls_behind(
                ConfigurationAtStep(configuration=name, step=step, loss=mean, has_moved=seeds.has_moved(values))
            )
            if reason:
                shown = f"{self._sign * mean:.4g}" if math.isfinite(mean) else "not finite"
                count = f"{len(values)} seed{'s' if len(values) > 1 else ''}"
                self._stop(name, f"at step {step} its mean over {count} is {shown}; {reason}")

    def _stop(self, name: str, reason: str) -> None:
        seeds = self._configurations[name]
        for key in seeds.keys:
            if key not in seeds.ended:
                self.reasons.setdefault(key, reason)

    def _loss(self, value: float) -> float:
        return self._sign * value if math.isfinite(value) else math.inf

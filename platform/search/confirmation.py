"""The confirmation of a search: which configurations run again on fresh seeds, told by the records of a journal.

The best of many configurations is best in part by luck: its mean over the seeds of the search is optimistic. On seeds
that took no part in the choice it is not. Everything here depends on records alone. What was chosen is a record itself
(`ConfirmationChosen`) and is read from there: a later process, which may know more, does not choose again.
"""

import math
from collections import Counter
from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, islice

from nmlab.platform.records.events import ConfirmationChosen, JournalRecord, TrialEnded, TrialSubmitted
from nmlab.platform.records.payloads import ResultRecord, SpecRecord
from nmlab.search_spaces.schema.constraints import Constraint, is_feasible
from nmlab.trials.contract.run_status import ENDED_FOR_GOOD, TrialStatus
from nmlab.trials.contract.run_tags import Role
from nmlab.trials.contract.trial_spec import TrialSpec


def fresh_seeds(taken: Collection[int], *, number: int, earlier: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the seeds of a confirmation: those of an earlier one, then the smallest others; none is ``taken``.

    Args:
        taken: the seeds of the study.
        number: of seeds.
        earlier: the seeds of an earlier confirmation of the launch.
    """
    free = (seed for seed in chain(earlier, (seed for seed in count() if seed not in earlier)) if seed not in taken)
    return tuple(islice(free, number))


@dataclass(frozen=True)
class Searched:
    """A configuration of a search.

    Attributes:
        key: what all of its seeds share.
        pattern: N:M.
        spec: its trial that began first.
        mean: of the objective over the seeds of the search; None unless all have finished with a finite value.
        has_ended: whether no seed waits, runs, or was stopped to go on later.
        is_feasible: whether every seed keeps the constraints of the search.
    """

    key: str
    pattern: str
    spec: SpecRecord
    mean: float | None
    has_ended: bool
    is_feasible: bool = True


def searched_configurations(
    records: Iterable[JournalRecord],
    *,
    metric: str,
    seeds: Sequence[int],
    not_searched: Container[str],
    later: Sequence[int] = (),
    constraints: Sequence[Constraint] = (),
) -> list[Searched]:
    """Return the configurations of a search in the order in which they began.

    Args:
        records: of the launch's journal, in order. The last end of a trial counts: it may have been tried again.
        metric: the objective.
        seeds: of the search.
        not_searched: keys of trials with these seeds that do not belong to the search, such as baselines.
        later: seeds that were added to the study, on which a configuration must be complete too; only one that is
            complete on ``seeds`` has trials with them.
        constraints: of the search.
    """
    first: dict[str, tuple[TrialSpec, SpecRecord]] = {}
    results: dict[str, ResultRecord] = {}
    for record in records:
        if isinstance(record, TrialSubmitted) and record.key not in not_searched and record.spec["seed"] in seeds:
            spec = TrialSpec.from_record(record.spec)
            first.setdefault(spec.configuration, (spec, record.spec))
        elif isinstance(record, TrialEnded):
            results[record.key] = record.result
    found = []
    for key, (spec, own) in first.items():
        ends = [results.get(_with_seed(spec, seed).key) for seed in seeds]
        if _mean([_value(end, metric) for end in ends]) is not None:
            ends += [results.get(_with_seed(spec, seed).key) for seed in later]
        mean, has_ended = _mean([_value(end, metric) for end in ends]), all(map(_is_end, ends))
        keeps = is_feasible(constraints, [{} if end is None else end["metrics"] for end in ends])
        found.append(Searched(key, spec.pattern, own, mean, has_ended, is_feasible=keeps))
    return found


def best_of_each_pattern(found: Iterable[Searched], *, top: int, mode: str) -> list[Searched]:
    """Return the ``top`` best complete configurations of each pattern that are feasible, the best first.

    Masks of different patterns do not compare. Of equal means the configuration that began first comes first.

    Args:
        found: configurations in the order in which they began.
        top: how many of each pattern, at most.
        mode: ``min`` or ``max``.
    """
    by_pattern: dict[str, list[tuple[float, Searched]]] = {}
    for item in found:
        own = by_pattern.setdefault(item.pattern, [])
        if item.mean is not None and item.is_feasible:
            own.append((item.mean if mode == "min" else -item.mean, item))
    ranked = (sorted(own, key=lambda each: each[0])[:top] for own in by_pattern.values())
    return [item for own in ranked for _, item in own]


def number_asked(found: Iterable[Searched], *, top: int) -> int:
    """Return how many configurations there are to choose, if all are complete."""
    return sum(min(top, tried) for tried in Counter(item.pattern for item in found).values())


@dataclass(frozen=True)
class ConfirmationTrial:
    """A trial of a confirmation, the ``first`` trial of its configuration, and why that was run."""

    spec: TrialSpec
    role: Role
    first: SpecRecord


def trials_of(choice: ConfirmationChosen) -> list[ConfirmationTrial]:
    """Return the trials of a confirmation: all seeds of the best configuration first."""
    return [
        ConfirmationTrial(_with_seed(TrialSpec.from_record(first), seed), Role(chosen["role"]), first)
        for chosen in choice.chosen
        for first in [chosen["spec"]]
        for seed in choice.seeds
    ]


@dataclass
class Confirmations:
    """What a launch has chosen to confirm, told by its journal.

    Attributes:
        ordinary: the seeds of the study. One that confirmed before it was added to the study no longer does.
        choices: in their order.
        trials: of the newest one, by key, and of earlier ones those that had ended for good before it.
    """

    ordinary: Collection[int] = ()
    choices: list[ConfirmationChosen] = field(default_factory=list)
    trials: dict[str, ConfirmationTrial] = field(default_factory=dict)
    _ended_for_good: set[str] = field(default_factory=set)

    def follow(self, records: Iterable[JournalRecord]) -> None:
        """Accept records, in the order of the journal."""
        for record in records:
            if isinstance(record, TrialEnded):
                ended = self._ended_for_good
                (ended.add if _has_ended_for_good(record.result) else ended.discard)(record.key)
            elif isinstance(record, ConfirmationChosen):
                self.choices.append(record)
                self.trials = {key: trial for key, trial in self.trials.items() if key in self._ended_for_good}
                for trial in trials_of(record):
                    if trial.spec.seed not in self.ordinary:
                        self.trials.setdefault(trial.spec.key, trial)

    @property
    def is_chosen(self) -> bool:
        """Whether something was chosen. Where nothing was complete, a process that finishes more of the search may."""
        return bool(self.trials)

    def is_chosen_since(self, version: int) -> bool:
        """Return whether something was chosen since a version of the study."""
        return any(choice.chosen for choice in self.choices if choice.of_version >= version)

    def to_run_since(self, version: int) -> list[TrialSpec]:
        """Return the trials of the newest choice if it was made since a version of the study; others are over."""
        if not self.is_settled_since(version):
            return []
        specs = (trial.spec for trial in trials_of(self.choices[-1]))
        return [spec for spec in specs if spec.seed not in self.ordinary]

    def is_settled_since(self, version: int) -> bool:
        """Return whether there was a choice since a version of the study, be it empty."""
        return any(choice.of_version >= version for choice in self.choices)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the last confirmation."""
        return tuple(self.choices[-1].seeds) if self.choices else ()


def confirmations_of(records: Iterable[JournalRecord], *, ordinary: Collection[int] = ()) -> Confirmations:
    """Return what the records of a journal say of confirmations; ``ordinary`` are the seeds of the study."""
    found = Confirmations(ordinary)
    found.follow(records)
    return found


def ends_of_dropped(
    records: Sequence[JournalRecord], choice: ConfirmationChosen, *, ordinary: Collection[int]
) -> list[TrialEnded]:
    """Return the ends of trials that earlier choices began and a new choice leaves out, so that none is begun again.

    Args:
        records: of the journal, up to the new choice.
        choice: the new one.
        ordinary: the seeds of the study; a trial with one of them is no longer one of a confirmation.
    """
    chosen = _keys_of(choice, ordinary)
    choices = (record for record in records if isinstance(record, ConfirmationChosen))
    earlier = {key for each in choices for key in _keys_of(each, ordinary)}
    begun = [record.key for record in records if isinstance(record, TrialSubmitted) and record.key in earlier - chosen]
    last = {record.key: record.result for record in records if isinstance(record, TrialEnded)}
    return [
        TrialEnded(key=key, result=_dropped(key, last.get(key)))
        for key in dict.fromkeys(begun)
        if key not in last or not _has_ended_for_good(last[key])
    ]


def _keys_of(choice: ConfirmationChosen, ordinary: Collection[int]) -> set[str]:
    return {trial.spec.key for trial in trials_of(choice) if trial.spec.seed not in ordinary}


def _dropped(key: str, result: ResultRecord | None) -> ResultRecord:
    """Return the result of a trial that is left out, with what it had cost at its last end."""
    before: ResultRecord = {"key": key, "status": TrialStatus.STOPPED, "step": 0, "metrics": {}, "reason": ""}
    reason = "what is confirmed was chosen anew, without it"
    return {**(result or before), "status": TrialStatus.STOPPED, "reason": reason, "resumable": False}


def _has_ended_for_good(result: ResultRecord) -> bool:
    """Return whether a trial has ended for good."""
    return result["status"] in ENDED_FOR_GOOD and not result.get("resumable", False)


def _with_seed(spec: TrialSpec, seed: int) -> TrialSpec:
    return spec.model_copy(update={"seed": seed})


def _is_end(result: ResultRecord | None) -> bool:
    return result is not None and not result.get("resumable", False)


def _value(result: ResultRecord | None, metric: str) -> float:
    """Return the objective of a trial, NaN unless it finished with one."""
    if result is None or result["status"] != TrialStatus.FINISHED:
        return math.nan
    metrics: Mapping[str, float] = result["metrics"]
    return float(metrics.get(metric, math.nan))


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values and all(map(math.isfinite, values)) else None

"""Seeds that a study got after its launch began: which configurations run with them, told by the records of a journal.

What a search was told of a configuration is by the seeds that the launch began with, the seeds of the search; it stays
told, and later configurations are told by the same seeds. A seed that was added runs for the configurations that are
complete on the seeds of the search. One that was stopped early, failed or diverged gets none.
"""

import math
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self

from nmlab.platform.records.events import JournalRecord, TrialEnded, TrialSubmitted
from nmlab.platform.records.payloads import ResultRecord
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.trial_spec import TrialSpec


@dataclass
class _Configuration:
    """A configuration of the search: its first trial, and the results of its seeds of the search that have ended."""

    first: TrialSpec
    keys: tuple[str, ...]
    results: dict[str, ResultRecord] = field(default_factory=dict)


class LaterSeeds:
    """Follows a launch's journal and gives the trials of added seeds.

    Args:
        search: the seeds of the search.
        later: the seeds that were added to the study.
        metrics: the objectives; a complete configuration has a finite value of each on every seed of the search.
        not_searched: keys of trials that do not belong to the search, such as baselines.
    """

    def __init__(
        self, *, search: Sequence[int], later: Sequence[int], metrics: Sequence[str], not_searched: Container[str]
    ) -> None:
        self._search, self._later = tuple(search), tuple(later)
        self._metrics, self._not_searched = tuple(metrics), not_searched
        self._configurations: dict[str, _Configuration] = {}
        self._by_key: dict[str, _Configuration] = {}

    @classmethod
    def none(cls) -> Self:
        """Return the value for a launch to which no seed was added."""
        return cls(search=(), later=(), metrics=(), not_searched=())

    def follow(self, records: Iterable[JournalRecord]) -> None:
        """Accept records, in the order of the journal. The last end of a trial counts: it may have been tried again."""
        for record in records if self._later else ():
            if isinstance(record, TrialSubmitted):
                self.begin(TrialSpec.from_record(record.spec))
            elif isinstance(record, TrialEnded):
                self.end(record.key, record.result)

    def begin(self, spec: TrialSpec) -> None:
        """Accept a trial that is submitted; those of baselines and with other seeds are left out."""
        is_searched = spec.seed in self._search and spec.key not in self._not_searched
        if not self._later or not is_searched or spec.configuration in self._configurations:
            return
        keys = tuple(_with_seed(spec, seed).key for seed in self._search)
        found = self._configurations[spec.configuration] = _Configuration(spec, keys)
        self._by_key |= dict.fromkeys(keys, found)

    def end(self, key: str, result: ResultRecord) -> list[TrialSpec]:
        """Accept the end of a trial; return the trials of added seeds that its configuration gets by it."""
        found = self._by_key.get(key)
        if found is None:
            return []
        was_complete = self._is_complete(found)
        found.results[key] = result
        return [] if was_complete or not self._is_complete(found) else self._trials(found)

    @property
    def trials(self) -> list[TrialSpec]:
        """The trials of added seeds of every configuration that is complete on the seeds of the search."""
        return [
            spec for found in self._configurations.values() if self._is_complete(found) for spec in self._trials(found)
        ]

    @property
    def withheld(self) -> int:
        """The number of trials that are left out: of configurations that have ended and are not complete."""
        ended = [found for found in self._configurations.values() if _has_ended(found) and not self._is_complete(found)]
        return len(ended) * len(self._later)

    def _trials(self, found: _Configuration) -> list[TrialSpec]:
        return [_with_seed(found.first, seed) for seed in self._later]

    def _is_complete(self, found: _Configuration) -> bool:
        return all(self._is_good(found.results.get(key)) for key in found.keys)

    def _is_good(self, result: ResultRecord | None) -> bool:
        if result is None or result["status"] != TrialStatus.FINISHED:
            return False
        return all(math.isfinite(result["metrics"].get(metric, math.nan)) for metric in self._metrics)


def _has_ended(found: _Configuration) -> bool:
    """Return whether no seed of the search waits, runs, or was stopped to go on later."""
    ends = [found.results.get(key) for key in found.keys]
    return all(end is not None and not end.get("resumable", False) for end in ends)


def _with_seed(spec: TrialSpec, seed: int) -> TrialSpec:
    return spec.model_copy(update={"seed": seed})

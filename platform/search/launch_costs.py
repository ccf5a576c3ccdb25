"""What the trials of a launch have used, as the journal's ``cost/*`` tell it: the account of ``budget.total``.

Every trial counts, however it ended: baselines, the search, and what confirms it. What it used is what was computed for
it (``cost/spent_*``), so that a result that several trials share counts once.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from nmlab.platform.records.events import JournalRecord, ReplicaStarted, TrialEnded, TrialLeased
from nmlab.search_spaces.schema.sections import Replica

LIMITED = ("seconds", "tokens", "forwards", "gpu_hours")
"""What a budget of a launch may limit."""
_MEASURED = ("seconds", "tokens", "forwards")
_SECONDS_AN_HOUR = 3600.0


@dataclass
class LaunchCosts:
    """Follows a launch's journal and adds up what its trials used.

    The cost of a trial that was interrupted includes what it had used before, by its checkpoint. Where it began anew
    without one, the larger of the two costs counts. A cost that is not known counts as none.

    Attributes:
        replica: the study's section on replicas, which says what share of the GPUs a trial has.
    """

    replica: Replica
    _used: dict[str, dict[str, float]] = field(default_factory=dict)
    _hosts: dict[str, str] = field(default_factory=dict)
    _gpus: dict[str, float] = field(default_factory=dict)

    def follow(self, record: JournalRecord) -> None:
        """Accept a record, in the order of the journal."""
        match record:
            case ReplicaStarted():
                self._gpus[record.host] = self._gpus_of_a_trial(record)
            case TrialLeased():
                self._hosts[record.key] = record.host
            case TrialEnded():
                self._end(record)
            case _:
                pass

    def total(self, name: str) -> float:
        """Return what all trials used of one of ``LIMITED``."""
        return sum(used[name] for used in self._used.values())

    def mean(self, name: str, keys: Collection[str]) -> float:
        """Return what some trials used on average, of those among them that have ended; 0 if none has."""
        found = [self._used[key][name] for key in keys if key in self._used]
        return sum(found) / len(found) if found else 0.0

    def _end(self, record: TrialEnded) -> None:
        metrics, before = record.result["metrics"], self._used.get(record.key, {})
        used = {name: metrics.get(f"cost/spent_{name}", metrics.get(f"cost/{name}", 0.0)) for name in _MEASURED}
        gpus = self._gpus.get(record.host or self._hosts.get(record.key, ""), 0.0)
        used["gpu_hours"] = used["seconds"] * gpus / _SECONDS_AN_HOUR
        self._used[record.key] = {name: max(value, before.get(name, 0.0)) for name, value in used.items()}

    def _gpus_of_a_trial(self, replica: ReplicaStarted) -> float:
        """Return how many GPUs a trial of a replica has for itself: slots share those of all pipeline stages.

        A trial that several slots evaluate has the share of each.
        """
        if replica.device in (None, "cpu"):
            return 0.0
        of_a_worker = 1.0 if self.replica.resources.gpus is None else self.replica.resources.gpus
        gpus = of_a_worker * len(replica.shards or (None,))
        return gpus * self.replica.mask_parallel / (replica.slots or 1)


def limits_of(total: Mapping[str, float | None]) -> dict[str, float]:
    """Return the limits of a budget that are given, by what they limit."""
    return {name: limit for name in LIMITED if (limit := total.get(name)) is not None}

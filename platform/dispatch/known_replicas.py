"""The dispatcher's replicas: which process of each is up, which must still come back, which were refused or silent."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from nmlab.platform.cluster.proof import why_refused
from nmlab.platform.dispatch.messages import ReplicaProcess
from nmlab.platform.records.events import JournalRecord, ReplicaLost, ReplicaRefused, ReplicaStarted
from nmlab.platform.records.payloads import Proof, ReplicaFacts

SILENT_REPLICA_SECONDS = 15.0
"""A replica that has sent nothing for so long is given up: it hangs, or its machine is cut off.

It sends twice a second. On a machine with more processes than cores its thread may get no processor time for seconds.
A process that has died is found within a second by other means (`dispatcher.py`).
"""
RETURN_SECONDS = 3.0
"""How long a restarted dispatcher waits for the replicas that the driver knows: they send twice a second, and a call
that found no dispatcher is made again within a second."""


@dataclass
class KnownReplica:
    """A process of a replica that is up: when it last sent anything, the number of its last message."""

    process: ReplicaProcess
    seen: float
    received: int = 0


class KnownReplicas:
    """The replicas that may be given trials; time is passed in, in seconds.

    Args:
        expected: what replicas must show of the launch's folder and their code (`cluster/proof.py`), if anything.
        record: is given what happens, in order.
    """

    def __init__(self, *, expected: Proof | None, record: Callable[[JournalRecord], None]) -> None:
        self._expected, self._record = expected, record
        self._up: dict[str, KnownReplica] = {}
        self._awaited: dict[str, int] = {}
        self._opened: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether the driver has said which replicas it knows."""
        return self._opened is not None

    def open(self, replicas: Mapping[str, int], *, now: float) -> None:
        """Await these replicas, by name with their incarnation, for `RETURN_SECONDS`."""
        self._opened, self._awaited = now, dict(replicas)

    def are_back(self, *, now: float) -> bool:
        """Return whether trials may be leased: all replicas that the driver knows are back, or were given up."""
        if self._opened is None:
            return False
        self.give_up_absent(now=now)
        return not self._awaited

    def find(self, process: ReplicaProcess) -> KnownReplica | None:
        """Return a replica if it is up and this is its process."""
        known = self._up.get(process.name)
        return known if known is not None and known.process == process else None

    def is_outdated(self, process: ReplicaProcess) -> bool:
        """Return whether this process, or a later one of the same replica, is up."""
        known = self._up.get(process.name)
        return known is not None and known.process.incarnation >= process.incarnation

    def refuse(self, replica: str, reason: str) -> None:
        """Record that a replica refuses to load its model, and why."""
        self._record(ReplicaRefused(host=replica, reason=reason))

    def admit(self, replica: str, proofs: Sequence[Proof], node_id: str = "") -> str:
        """Check what the workers of a replica show; return, and record, why it is refused; "" if it is not."""
        if problems := why_refused(proofs, self._expected, node_id=node_id):
            reason = f"{replica} on {'; '.join(problems.values())}"
            self._record(ReplicaRefused(host=replica, reason=reason, nodes=sorted(problems)))
            return reason
        return ""

    def add(self, process: ReplicaProcess, facts: ReplicaFacts, *, now: float) -> None:
        """Add a replica that was admitted; an older process of it that was awaited is lost."""
        if self._awaited.pop(process.name, process.incarnation) != process.incarnation:
            self._record(ReplicaLost(host=process.name, reason="was replaced by a new process"))
        self._up[process.name] = KnownReplica(process, now)
        told = {name: value for name, value in facts.items() if name != "proofs"}
        self._record(ReplicaStarted.from_json({"host": process.name, "incarnation": process.incarnation, **told}))

    def remove(self, name: str) -> bool:
        """Remove a replica; return whether it was up."""
        return self._up.pop(name, None) is not None

    def silent(self, *, now: float) -> list[str]:
        """Return the replicas that have sent nothing for `SILENT_REPLICA_SECONDS`."""
        return [name for name, replica in self._up.items() if now - replica.seen > SILENT_REPLICA_SECONDS]

    def silent_seconds(self, *, now: float) -> float:
        """Return how many seconds ago the last message of any replica came; infinite without a replica."""
        return min((now - replica.seen for replica in self._up.values()), default=math.inf)

    def give_up_absent(self, *, now: float) -> None:
        """Give up the awaited replicas once `RETURN_SECONDS` has passed."""
        if self._awaited and self._opened is not None and now - self._opened > RETURN_SECONDS:
            for name in self._awaited:
                self._record(ReplicaLost(host=name, reason="did not come back to a restarted dispatcher"))
            self._awaited = {}

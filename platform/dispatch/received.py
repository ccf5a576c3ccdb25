"""What the driver has received: each record once, however often a restarted dispatcher or a replica sends it."""

from collections import Counter
from collections.abc import Callable, Container
from typing import Any

Record = dict[str, Any]


class ReceivedRecords:
    """Takes the answers of the dispatcher's ``drain`` and returns the new records in them.

    Attributes:
        generation: of the dispatcher that the driver opened last.
        acknowledged: the number of the last record that the next ``drain`` acknowledges.
        ended: the results of trials that ended in this process, by trial key.
        begun: the keys of trials that have begun and not ended.
        loads: how often each replica loaded the model.
        replicas: the incarnation of each replica that is up.
    """

    def __init__(self) -> None:
        self.generation = self.acknowledged = 0
        self.ended: dict[str, Record] = {}
        self.begun: set[str] = set()
        self.loads: Counter[str] = Counter()
        self.replicas: dict[str, int] = {}
        self._epochs: dict[str, int] = {}
        self._numbers: dict[tuple[str, int], int] = {}

    def is_new(self, answer: Record) -> bool:
        """Return whether an answer comes from a dispatcher that the driver has not opened."""
        return bool(answer["generation"] != self.generation)

    def opened(self, generation: int) -> None:
        """Note that the dispatcher of this generation was opened; its records are numbered from 1 again."""
        self.generation, self.acknowledged = generation, 0

    def take(self, answer: Record) -> list[Record]:
        """Return the records that were not received before, in order; the next ``drain`` acknowledges them all."""
        fresh = [
            self._accept(record)
            for record in answer["records"]
            if record["sequence"] > self.acknowledged and self._is_fresh(record)
        ]
        self.acknowledged = max(self.acknowledged, answer["upto"])
        return fresh

    def unended(self) -> list[str]:
        """Return the trials that have begun and not ended."""
        return sorted(self.begun)

    def _is_fresh(self, record: Record) -> bool:
        if "source" in record:
            replica, incarnation, number = record["source"]
            return bool(number > self._numbers.get((replica, incarnation), 0))
        match record["event"]:
            case "trial":
                return record["key"] not in self.begun
            case "leased":
                return bool(record["epoch"] != self._epochs.get(record["key"]))
            case "replica":
                return bool(record["incarnation"] != self.replicas.get(record["host"]))
            case "replica lost" | "replica left":
                return record["host"] in self.replicas
        return True

    def _accept(self, record: Record) -> Record:
        """Keep what later records are compared with; return the record without its number and source."""
        if "source" in record:
            replica, incarnation, number = record["source"]
            self._numbers[replica, incarnation] = number
        kept = {name: value for name, value in record.items() if name not in ("sequence", "source")}
        match record["event"]:
            case "trial":
                self.begun.add(record["key"])
            case "leased":
                self._epochs[record["key"]] = record["epoch"]
            case "ended":
                kept.pop("epoch", None)
                self.begun.discard(record["key"])
                self.ended[record["key"]] = record["result"]
            case "replica":
                self.replicas[record["host"]] = record["incarnation"]
                self.loads[record["host"]] += 1
                kept["loads"] = self.loads[record["host"]]
            case "replica lost" | "replica left":
                del self.replicas[record["host"]]
        return kept


class AcceptedEnds:
    """Replaces the ends of trials whose artifacts the driver cannot read.

    Such an end becomes a ``result refused`` in the stream. The next ``drain`` rejects it, before the dispatcher counts
    it as journaled. If a restarted dispatcher gets the same message from the replica again, it is refused again
    without another check, since nobody has received it as an end.
    """

    def __init__(self, unreadable: Callable[[Record], str]) -> None:
        self._unreadable = unreadable
        self._reasons: dict[tuple[Any, ...], str] = {}
        self.refused: list[Record] = []
        """The ends to reject with the next ``drain``, as arguments of ``DispatchState.reject``."""

    def filter(self, answer: Record, *, over: Container[str]) -> Record:
        """Return an answer of ``drain`` in which the ends that are not accepted are replaced.

        Args:
            answer: of a ``drain`` that was given ``refused``, so that those ends need not be rejected again.
            over: the keys of trials whose end is in the journal.
        """
        self.refused = []
        return {**answer, "records": [self._filtered(record, over) for record in answer["records"]]}

    def _filtered(self, record: Record, over: Container[str]) -> Record:
        if record["event"] != "ended" or "source" not in record or record["key"] in over:
            return record
        source = tuple(record["source"])
        reason = self._reasons.get(source) or self._unreadable(record)
        if not reason:
            return record
        self._reasons[source] = reason
        replica, incarnation, _ = source
        end = {"replica": replica, "incarnation": incarnation, "key": record["key"], "epoch": record["epoch"]}
        self.refused.append({**end, "reason": reason})
        kept = {name: record[name] for name in ("sequence", "source", "host", "key")}
        return {"event": "result refused", **kept, "reason": reason}

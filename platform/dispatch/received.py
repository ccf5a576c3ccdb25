"""What the driver has heard: each thing once, however often a hub that was restarted, or its replicas, say it."""

from collections import Counter
from collections.abc import Callable, Container
from typing import Any

Record = dict[str, Any]


class ReceivedRecords:
    """Takes the answers of the hub's ``drain`` and returns what is new in them.

    ``ended`` holds the results of this process by key, ``loads`` how often each replica loaded the model,
    ``replicas`` which incarnation of each is up.
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
        """Say whether an answer comes from a hub that the driver has not opened."""
        return bool(answer["generation"] != self.generation)

    def opened(self, generation: int) -> None:
        """The hub of this generation was opened; its records are counted from the beginning."""
        self.generation, self.acknowledged = generation, 0

    def take(self, answer: Record) -> list[Record]:
        """Return the records that were not heard before, in order; the next ``drain`` acknowledges them all."""
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
            host, incarnation, number = record["source"]
            return bool(number > self._numbers.get((host, incarnation), 0))
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
        """Note what a record says; return it without what only served to tell it from others."""
        if "source" in record:
            host, incarnation, number = record["source"]
            self._numbers[host, incarnation] = number
        told = {name: value for name, value in record.items() if name not in ("sequence", "source")}
        match record["event"]:
            case "trial":
                self.begun.add(record["key"])
            case "leased":
                self._epochs[record["key"]] = record["epoch"]
            case "ended":
                told.pop("epoch", None)
                self.begun.discard(record["key"])
                self.ended[record["key"]] = record["result"]
            case "replica":
                self.replicas[record["host"]] = record["incarnation"]
                self.loads[record["host"]] += 1
                told["loads"] = self.loads[record["host"]]
            case "replica lost" | "replica left":
                del self.replicas[record["host"]]
        return told


class AcceptedEnds:
    """Tells ends that the driver accepts from those that it does not, since it cannot read what the trial left.

    An end that is not accepted becomes a ``result refused`` in the stream, and the hub is told with the next ``drain``,
    which is before the hub takes the end for kept. A hub that was restarted hears the same message from the replica
    again; it is refused again without another look, since it was told to nobody as an end.
    """

    def __init__(self, unreadable: Callable[[Record], str]) -> None:
        self._unreadable = unreadable
        self._reasons: dict[tuple[Any, ...], str] = {}
        self.refused: list[Record] = []
        """The ends to refuse with the next ``drain``, as arguments of ``HubState.reject``."""

    def look_at(self, answer: Record, *, over: Container[str]) -> Record:
        """Return an answer of ``drain`` in which the ends that are not accepted are replaced.

        That there is an answer says that the hub has heard of those that were refused before.
        """
        self.refused = []
        return {**answer, "records": [self._looked_at(record, over) for record in answer["records"]]}

    def _looked_at(self, record: Record, over: Container[str]) -> Record:
        if record["event"] != "ended" or "source" not in record or record["key"] in over:
            return record
        source = tuple(record["source"])
        reason = self._reasons.get(source) or self._unreadable(record)
        if not reason:
            return record
        self._reasons[source] = reason
        host, incarnation, _ = source
        end = {"host": host, "incarnation": incarnation, "key": record["key"], "epoch": record["epoch"]}
        self.refused.append({**end, "reason": reason})
        kept = {name: record[name] for name in ("sequence", "source", "host", "key")}
        return {"event": "result refused", **kept, "reason": reason}

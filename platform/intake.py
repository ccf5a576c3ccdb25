"""What the driver has heard: each thing once, however often a hub that was restarted, or its replicas, say it."""

from collections import Counter
from typing import Any

Record = dict[str, Any]


class Intake:
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
            self._heed(record)
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

    def _heed(self, record: Record) -> Record:
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
                self.begun.discard(record["key"])
                self.ended[record["key"]] = record["result"]
            case "replica":
                self.replicas[record["host"]] = record["incarnation"]
                self.loads[record["host"]] += 1
                told["loads"] = self.loads[record["host"]]
            case "replica lost" | "replica left":
                del self.replicas[record["host"]]
        return told

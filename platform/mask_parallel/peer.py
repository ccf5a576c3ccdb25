"""One participant of a trial whose masks several slots evaluate, as its run sees the others."""

import pickle
import time
from collections.abc import Callable
from typing import Any, Protocol

from nmlab.platform.mask_parallel.group import LEADER, Losses
from nmlab.trials.contract.errors import GroupClosedError, ReloadError

Record = dict[str, Any]
_WAIT_S = 5.0
_LEADER_WAITS_S = 2.0
_PATIENCE = 4.0  # times as long as its own share took
_GOES_HOME_S = 15.0


class Line(Protocol):
    """A line to the exchange: calls a method of its actor by name and outlasts a restart."""

    def ask(self, method: str, *args: Any, within: float = 0.0) -> Any:
        """Call a method, which may take ``within`` seconds, given to it as its last argument, if any."""


class Peer:
    """The leader, who was given the trial, or one who joined (``member``).

    The leader waits for the others a few times as long as its own share took, and then evaluates what is missing. One
    who joined goes home when ``leaving()`` says so, or when it has waited for long: its slot may be needed elsewhere.
    ``exchanged_bytes`` counts what went over the line, whole messages, both ways.
    """

    def __init__(
        self,
        line: Line,
        *,
        key: str,
        epoch: int,
        member: str = LEADER,
        spec: Record | None = None,
        participants: int = 1,
        leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self._line, self._key, self._epoch, self._member = line, key, epoch, member
        self._spec, self._participants, self._leaving = spec or {}, participants, leaving
        self._known: dict[int, list[float]] = {}
        self._saved = 0
        self.exchanged_bytes = 0

    def losses(
        self, step: int, count: int, *, evaluate: Callable[[int], float], digest: Callable[[], bytes]
    ) -> list[float]:
        """See ``nmlab.trials.parallel.mask_parallel.Party``."""
        given: Losses = {}
        seen, patience, since = b"", _LEADER_WAITS_S, time.monotonic()
        while step not in self._known:
            answer = self._attend(step, given, seen, patience=patience)
            given = {}
            if "mine" in answer:
                start = time.monotonic()
                seen = seen or digest()
                given = {index: evaluate(index) for index in answer["mine"]}
                patience = max(_LEADER_WAITS_S, _PATIENCE * (time.monotonic() - start))
                since = time.monotonic()
            elif "losses" in answer:
                self._known = dict(enumerate(answer["losses"], start=step))
            elif "unknown" in answer:
                self._open(count, step)
            elif "reload" in answer:
                raise ReloadError
            elif "over" in answer:
                raise GroupClosedError("another slot leads this trial now")
            elif self._member != LEADER and (self._leaving() or time.monotonic() - since > _GOES_HOME_S):
                raise GroupClosedError("the others are not heard of")
        return self._known.pop(step)

    def saved(self, step: int) -> None:
        """See ``nmlab.trials.parallel.mask_parallel.Party``."""
        self._saved = step

    def notices(self) -> list[str]:
        """Return what a person should hear of the others, once."""
        told: list[str] = self._line.ask("call", "notices", self._key)
        return told

    def go(self) -> None:
        """Say that the trial has ended, or that this one takes no part in it any more."""
        if self._member == LEADER:
            self._line.ask("call", "close", self._key, self._epoch)
        else:
            self._line.ask("call", "leave", self._key, self._epoch, self._member)

    def _open(self, masks: int, step: int) -> None:
        self._line.ask("call", "open", self._key, self._epoch, self._spec, self._participants, masks, step)

    def _attend(self, step: int, given: Losses, digest: bytes, *, patience: float) -> Record:
        message = (self._key, self._epoch, self._member, step, given, digest, self._saved)
        within = patience if self._member == LEADER else _WAIT_S
        answer: Record = self._line.ask("attend", *message, within=within)
        self.exchanged_bytes += len(pickle.dumps(message)) + len(pickle.dumps(answer))
        return answer

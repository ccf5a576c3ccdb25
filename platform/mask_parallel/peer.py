"""One member of a mask-parallel group: what the run of a trial calls to evaluate the masks of a step together."""

import math
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
_IDLE_LIMIT_S = 15.0
_PRESENT_S = 10.0  # a sixth of the silence after which the coordinator gives a member up


class CoordinatorClient(Protocol):
    """Calls the methods of the coordinator's actor by name, again if it is restarted."""

    def ask(self, method: str, *args: Any, within: float = 0.0) -> Any:
        """Call a method; one that may wait ``within`` seconds gets this number as its last argument."""


class Peer:
    """A member of the group of one trial: its leader, or a peer that joined.

    The leader waits for the others four times as long as its own share took, at least two seconds, and then evaluates
    what is missing. A peer leaves when ``leaving()`` is true, or after 15 seconds without anything to do: its slot may
    be needed elsewhere. ``exchanged_bytes`` counts the bytes of all messages to and from the coordinator.

    Args:
        coordinator: its client.
        key: of the trial.
        epoch: of the lease under which the trial is led.
        member: the name of this member in the group.
        spec: the trial's specification, from the leader.
        size: how many slots are to share the trial, from the leader.
        leaving: whether the replica is about to end.
    """

    def __init__(
        self,
        coordinator: CoordinatorClient,
        *,
        key: str,
        epoch: int,
        member: str = LEADER,
        spec: Record | None = None,
        size: int = 1,
        leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self._coordinator, self._key, self._epoch, self._member = coordinator, key, epoch, member
        self._spec, self._size, self._leaving = spec or {}, size, leaving
        self._known: dict[int, list[float]] = {}
        self._saved = 0
        self._last_message = -math.inf
        self.exchanged_bytes = 0

    def losses(
        self, step: int, count: int, *, evaluate: Callable[[int], float], digest: Callable[[], bytes]
    ) -> list[float]:
        """See ``nmlab.trials.parallel.mask_parallel.MaskEvaluators``."""
        given: Losses = {}
        seen, patience, since = b"", _LEADER_WAITS_S, time.monotonic()
        while step not in self._known:
            answer = self._attend(step, given, seen, patience=patience)
            given = {}
            if "mine" in answer:
                start = time.monotonic()
                seen = seen or digest()
                given = {index: self._evaluated(evaluate, index) for index in answer["mine"]}
                patience = max(_LEADER_WAITS_S, _PATIENCE * (time.monotonic() - start))
                since = time.monotonic()
            elif "losses" in answer:
                self._known = dict(enumerate(answer["losses"], start=step))
            elif "unknown" in answer:
                self._open(count, step)
            elif "reload" in answer:
                raise ReloadError
            elif "over" in answer:
                raise GroupClosedError("the trial has ended, or another slot leads it now")
            elif self._member != LEADER and (self._leaving() or time.monotonic() - since > _IDLE_LIMIT_S):
                raise GroupClosedError("nothing came from the other slots, or this replica ends")
        self._stay_present()
        return self._known.pop(step)

    def saved(self, step: int) -> None:
        """See ``nmlab.trials.parallel.mask_parallel.MaskEvaluators``."""
        self._saved = step

    def notices(self) -> list[str]:
        """Return the notices about the other members for the journal, each once."""
        notices: list[str] = self._coordinator.ask("call", "notices", self._key)
        return notices

    def leave(self) -> None:
        """Close the group if this is the leader, whose trial has ended; else leave it."""
        if self._member == LEADER:
            self._coordinator.ask("call", "close", self._key, self._epoch)
        else:
            self._coordinator.ask("call", "leave", self._key, self._epoch, self._member)

    def _evaluated(self, evaluate: Callable[[int], float], index: int) -> float:
        self._stay_present()
        return evaluate(index)

    def _stay_present(self) -> None:
        """Tell the coordinator, at most every 10 s, that this member works: on a share of masks, or on a replay."""
        if time.monotonic() - self._last_message > _PRESENT_S:
            self._last_message = time.monotonic()
            self._coordinator.ask("call", "present", self._key, self._epoch, self._member)

    def _open(self, masks: int, step: int) -> None:
        self._coordinator.ask("call", "open", self._key, self._epoch, self._spec, self._size, masks, step)

    def _attend(self, step: int, given: Losses, digest: bytes, *, patience: float) -> Record:
        message = (self._key, self._epoch, self._member, step, given, digest, self._saved)
        within = patience if self._member == LEADER else _WAIT_S
        answer: Record = self._coordinator.ask("attend", *message, within=within)
        self._last_message = time.monotonic()
        self.exchanged_bytes += len(pickle.dumps(message)) + len(pickle.dumps(answer))
        return answer

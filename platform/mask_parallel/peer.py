"""One member of a mask-parallel group: what the run of a trial calls to evaluate the masks of a step together."""

import math
import pickle
import time
from collections.abc import Callable
from typing import assert_never

from nmlab.platform.mask_parallel.coordinator_client import CoordinatorClient
from nmlab.platform.mask_parallel.messages import (
    AllLosses,
    Answer,
    Closed,
    Evaluate,
    Losses,
    Member,
    NotOpen,
    Reload,
    Wait,
)
from nmlab.platform.records.payloads import SpecRecord
from nmlab.trials.contract.errors import GroupClosedError, ReloadError

_PEER_WAIT_SECONDS = 5.0
"""How long one call of a peer waits for something to do; between two calls it looks whether it must leave."""
_LEADER_WAIT_SECONDS = 2.0
"""The leader waits at least so long for the others, since a peer may have started its share later."""
_PATIENCE_FACTOR = 4.0
"""The leader waits at least so many times as long as its own share took: peers may be on slower or busier machines."""
_IDLE_SECONDS = 15.0
"""A peer with nothing to do for so long leaves the group: its slot may be needed elsewhere."""
_HEARTBEAT_SECONDS = 10.0
"""How often a busy member says that it works: a sixth of the silence after which the coordinator gives it up."""


class Peer:
    """A member of the group of one trial: its leader, or a peer that joined.

    The leader waits for the others four times as long as its own share took, at least two seconds, and then evaluates
    what is missing. A peer leaves when ``leaving()`` is true, or after 15 seconds without anything to do: its slot may
    be needed elsewhere. ``exchanged_bytes`` counts the bytes of all messages to and from the coordinator.

    Args:
        coordinator: its client.
        member: this member: the trial, the epoch of the lease under which it is led, its name in the group.
        spec: the trial's specification, from the leader.
        size: how many slots are to share the trial, from the leader.
        leaving: whether the replica is about to end.
    """

    def __init__(
        self,
        coordinator: CoordinatorClient,
        member: Member,
        *,
        spec: SpecRecord | None = None,
        size: int = 1,
        leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self._coordinator, self._member = coordinator, member
        self._spec, self._size, self._leaving = spec or {}, size, leaving
        self._known: dict[int, list[float]] = {}
        self._checkpoint = 0
        self._last_message = -math.inf
        self.exchanged_bytes = 0

    def losses(
        self, step: int, count: int, *, evaluate: Callable[[int], float], digest: Callable[[], bytes]
    ) -> list[float]:
        """See ``nmlab.trials.parallel.mask_parallel.MaskEvaluators``."""
        given: Losses = {}
        seen, patience, since = b"", _LEADER_WAIT_SECONDS, time.monotonic()
        while step not in self._known:
            answer = self._report(step, given, seen, patience=patience)
            given = {}
            match answer:
                case Evaluate(masks):
                    start = time.monotonic()
                    seen = seen or digest()
                    given = {index: self._evaluated(evaluate, index) for index in masks}
                    patience = max(_LEADER_WAIT_SECONDS, _PATIENCE_FACTOR * (time.monotonic() - start))
                    since = time.monotonic()
                case AllLosses(steps):
                    self._known = {step + ahead: list(losses) for ahead, losses in enumerate(steps)}
                case NotOpen():
                    self._open(count, step)
                case Reload():
                    raise ReloadError
                case Closed():
                    raise GroupClosedError("the trial has ended, or another slot leads it now")
                case Wait():
                    self._leave_if_idle(since)
                case _ as never:
                    assert_never(never)
        self._send_heartbeat()
        return self._known.pop(step)

    def saved(self, step: int) -> None:
        """See ``nmlab.trials.parallel.mask_parallel.MaskEvaluators``."""
        self._checkpoint = step

    def notices(self) -> list[str]:
        """Return the notices about the other members for the journal, each once."""
        return self._coordinator.notices(self._member.key)

    def leave(self) -> None:
        """Close the group if this is the leader, whose trial has ended; else leave it."""
        self._coordinator.leave(self._member)

    def _leave_if_idle(self, since: float) -> None:
        if not self._member.leads and (self._leaving() or time.monotonic() - since > _IDLE_SECONDS):
            raise GroupClosedError("nothing came from the other slots, or this replica ends")

    def _evaluated(self, evaluate: Callable[[int], float], index: int) -> float:
        self._send_heartbeat()
        return evaluate(index)

    def _send_heartbeat(self) -> None:
        """Tell the coordinator, at most every 10 s, that this member works: on a share of masks, or on a replay."""
        if time.monotonic() - self._last_message > _HEARTBEAT_SECONDS:
            self._last_message = time.monotonic()
            self._coordinator.heartbeat(self._member)

    def _open(self, masks: int, step: int) -> None:
        self._coordinator.open(self._member, spec=self._spec, size=self._size, masks=masks, step=step)

    def _report(self, step: int, given: Losses, digest: bytes, *, patience: float) -> Answer:
        within = patience if self._member.leads else _PEER_WAIT_SECONDS
        answer = self._coordinator.report(
            self._member, step, given=given, digest=digest, checkpoint=self._checkpoint, within=within
        )
        self._last_message = time.monotonic()
        message = (self._member, step, given, digest, self._checkpoint)
        self.exchanged_bytes += len(pickle.dumps(message)) + len(pickle.dumps(answer))
        return answer

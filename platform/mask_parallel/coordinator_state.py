"""The coordinator's state, without Ray or clocks: the mask-parallel groups of all trials that slots share.

Its actor is in `coordinator.py`.
"""

from dataclasses import dataclass, field

from nmlab.platform.mask_parallel.group import MaskParallelGroup
from nmlab.platform.mask_parallel.messages import (
    LEADER,
    Answer,
    Closed,
    Losses,
    Member,
    NotOpen,
    Offer,
    Reload,
)
from nmlab.platform.records.payloads import SpecRecord

_SILENT_MEMBER_SECONDS = 60.0
"""A member that has sent nothing for so long is lost. It says every 10 s that it works, however long a mask takes."""
_STARTING_PEER_SECONDS = 600.0
"""How long a peer may take until its first message: it makes its initial mask, or loads a checkpoint, before that."""


@dataclass
class _OpenGroup:
    """The group of a trial under its leader's lease.

    Attributes:
        epoch: of the lease.
        size: how many slots are wanted, the leader among them.
        seen: when the last message of each member came.
        joined: how many peers have joined so far, for their names.
        starting: when each peer joined that has not sent a message yet; it has a place, but gets no masks.
    """

    epoch: int
    spec: SpecRecord
    size: int
    group: MaskParallelGroup
    seen: dict[str, float] = field(default_factory=dict)
    joined: int = 0
    starting: dict[str, float] = field(default_factory=dict)

    @property
    def lacking(self) -> int:
        """How many slots are wanted besides those that have a place."""
        return self.size - len(self.seen) - len(self.starting)

    def arrive(self, member: str, *, now: float) -> None:
        """Note a message of a member; the first one of a peer makes it a member that gets masks."""
        if self.starting.pop(member, None) is not None:
            self.group.join(member)
        self.seen[member] = now


class MaskParallelCoordinator:
    """The mask-parallel groups of a launch, without Ray; time is passed in, in seconds."""

    def __init__(self) -> None:
        self._open: dict[str, _OpenGroup] = {}

    def open(self, leader: Member, *, spec: SpecRecord, size: int, masks: int, step: int, now: float) -> None:
        """Open the group of a trial for ``size`` slots, at the step that its leader has reached.

        An older lease than that of the group that is open changes nothing.
        """
        known = self._open.get(leader.key)
        if known is None or known.epoch <= leader.epoch:
            group = MaskParallelGroup(masks, step)
            self._open[leader.key] = _OpenGroup(leader.epoch, spec, size, group, {leader.name: now})

    def offer(self, *, now: float) -> Offer | None:
        """Add a peer to the group that lacks most; return its place, or None."""
        self._expire(now)
        lacking = [(held.lacking, key) for key, held in self._open.items()]
        if not lacking or max(lacking)[0] <= 0:
            return None
        key = max(lacking)[1]
        held = self._open[key]
        held.joined += 1
        member = Member(key, held.epoch, f"peer-{held.joined}")
        held.starting[member.name] = now
        return Offer(member, held.spec)

    def report(
        self, member: Member, step: int, *, given: Losses, digest: bytes, checkpoint: int, now: float
    ) -> Answer | None:
        """Pass a message of a member to its group (see ``MaskParallelGroup.report``); return what it is to do."""
        held = self._open.get(member.key)
        if held is None or held.epoch < member.epoch:
            return NotOpen() if member.leads else Closed()
        if held.epoch > member.epoch or not (member.name in held.seen or member.name in held.starting):
            return Closed()
        held.arrive(member.name, now=now)
        self._expire(now)
        if member.leads:
            held.group.note_checkpoint(checkpoint)
        answer = held.group.report(member.name, step, given=given, digest=digest)
        match answer:
            case Closed():
                self._remove(held, member.name)
            case Reload():
                held.group.join(member.name)  # its next message is about the step of the others
        return answer

    def heartbeat(self, member: Member, *, now: float) -> None:
        """Note that a member still works on its masks, or replays steps, and is not lost."""
        held = self._held(member)
        if held is not None and member.name in held.seen:
            held.seen[member.name] = now

    def take_over(self, key: str) -> None:
        """Let the leader evaluate the masks whose losses are missing."""
        if key in self._open:
            self._open[key].group.take_over()

    def leave(self, member: Member) -> None:
        """Remove a peer, so that another slot may join instead; the leader, whose trial has ended, closes the group."""
        held = self._held(member)
        if held is None:
            return
        if member.leads:
            del self._open[member.key]
        else:
            self._remove(held, member.name)

    def notices(self, key: str) -> list[str]:
        """Return the notices of a group for the journal, each once."""
        if key not in self._open:
            return []
        notices, self._open[key].group.notices = self._open[key].group.notices, []
        return notices

    def _held(self, member: Member) -> _OpenGroup | None:
        held = self._open.get(member.key)
        return held if held is not None and held.epoch == member.epoch else None

    def _expire(self, now: float) -> None:
        """Remove groups whose leader, and peers that, have sent nothing for too long."""
        for key, held in list(self._open.items()):
            if now - held.seen[LEADER] > _SILENT_MEMBER_SECONDS:
                del self._open[key]
                continue
            for member in [member for member, seen in held.seen.items() if now - seen > _SILENT_MEMBER_SECONDS]:
                self._give_up(held, member, f"{member} was silent for {_SILENT_MEMBER_SECONDS:g} s")
            for member in [member for member, joined in held.starting.items() if now - joined > _STARTING_PEER_SECONDS]:
                self._give_up(held, member, f"{member} did not start within {_STARTING_PEER_SECONDS:g} s")

    def _give_up(self, held: _OpenGroup, member: str, why: str) -> None:
        held.group.notices.append(f"{why}; the trial goes on without it")
        self._remove(held, member)

    def _remove(self, held: _OpenGroup, member: str) -> None:
        held.group.leave(member)
        held.seen.pop(member, None)
        held.starting.pop(member, None)

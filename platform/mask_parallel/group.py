"""The coordinator's state, without Ray or clocks: the mask-parallel groups of a launch.

A group has a leader, whose slot holds the trial's lease, and peers, which come and go. The masks of a step are divided
among the members; once all losses are there, every member gets all of them. If a peer is lost, late, or holds other
logits than the leader, the leader evaluates its share. The losses do not depend on who evaluates them, and neither does
the trial.
"""

from dataclasses import dataclass, field

from nmlab.platform.mask_parallel.messages import (
    LEADER,
    AllLosses,
    Answer,
    Closed,
    Evaluate,
    Losses,
    Member,
    NotOpen,
    Offer,
    Reload,
)
from nmlab.platform.records.payloads import SpecRecord

_MOST_OUT_OF_SYNC = 3
"""How often a peer may hold other logits than the leader, before it is excluded from the group."""
_SILENT_MEMBER_SECONDS = 60.0
"""A member that has sent nothing for so long is lost. It says every 10 s that it works, however long a mask takes."""
_STARTING_PEER_SECONDS = 600.0
"""How long a peer may take until its first message: it makes its initial mask, or loads a checkpoint, before that."""


@dataclass
class MaskParallelGroup:
    """The members of one trial under one lease, and the losses of its steps since the last but one checkpoint."""

    masks: int
    step: int
    """The step whose losses are not complete."""
    members: list[str] = field(default_factory=lambda: [LEADER])
    out_of_sync: dict[str, int] = field(default_factory=dict)
    complete: dict[int, list[float]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    """What the journal should tell a person; the coordinator takes them out when it reads them."""
    _bases: tuple[int, int] = (0, 0)
    _share: dict[int, str] = field(default_factory=dict)
    _given: dict[int, tuple[str, float]] = field(default_factory=dict)
    _digests: dict[str, bytes] = field(default_factory=dict)
    _late: set[str] = field(default_factory=set)

    def join(self, member: str) -> None:
        """Add a peer; it gets masks from the next step on."""
        if member not in self.members:
            self.members.append(member)

    def leave(self, member: str) -> None:
        """Remove a peer; the leader gets the masks of this step whose losses it has not sent."""
        if member in self.members:
            self.members.remove(member)
        self._hand_over(member)

    def take_over(self) -> None:
        """Let the leader evaluate the masks of this step whose losses are missing.

        Late peers get no masks until they send a message again, so that a dead one costs one wait and not many.
        """
        self._late |= {owner for index, owner in self._share.items() if index not in self._given} - {LEADER}
        for member in self._late:
            self._hand_over(member)

    def note_checkpoint(self, step: int) -> None:
        """Note a checkpoint after ``step`` steps, and drop the losses from before the checkpoint before it."""
        if step > self._bases[1]:
            self._bases = (self._bases[1], step)
            self.complete = {known: losses for known, losses in self.complete.items() if known >= self._bases[0]}

    def report(self, member: str, step: int, *, given: Losses, digest: bytes) -> Answer | None:
        """Accept the losses that a member has evaluated of a step; return what it is to do next, None while it waits.

        Args:
            member: the name of the member.
            step: the step that it has reached.
            given: its losses of this step, by mask index.
            digest: of the masks that it evaluated; a peer whose digest is not the leader's is out of sync.
        """
        self._late.discard(member)
        if self.out_of_sync.get(member, 0) >= _MOST_OUT_OF_SYNC:
            return Closed()
        if step > self.step:
            return None
        if step == self.step:
            self._take(member, given, digest)
        if member not in self.members:
            return Reload()
        if step < self.step:
            known = range(step, self.step)
            whole = all(each in self.complete for each in known)
            return AllLosses([self.complete[each] for each in known]) if whole else Reload()
        mine = [index for index, owner in self._shares().items() if owner == member and index not in self._given]
        return Evaluate(mine) if mine else None

    def _shares(self) -> dict[int, str]:
        if not self._share:
            present = [member for member in self.members if member not in self._late]
            self._share = {index: present[index % len(present)] for index in range(self.masks)}
        return self._share

    def _take(self, member: str, given: Losses, digest: bytes) -> None:
        if not given:
            return
        self._digests[member] = digest
        for index, loss in given.items():
            if self._shares()[index] == member:
                self._given[index] = (member, loss)
        if len(self._given) == self.masks:
            self._compare()
        if len(self._given) == self.masks:
            self.complete[self.step] = [self._given[index][1] for index in range(self.masks)]
            self.step += 1
            self._share, self._given, self._digests = {}, {}, {}

    def _compare(self) -> None:
        """Drop the losses that were evaluated on other masks than the leader's."""
        for member, digest in list(self._digests.items()):
            if digest != self._digests[LEADER]:
                self.out_of_sync[member] = self.out_of_sync.get(member, 0) + 1
                self.notices.append(f"{member} held other logits than the leader at step {self.step} and starts again")
                self._given = {index: entry for index, entry in self._given.items() if entry[0] != member}
                self.leave(member)

    def _hand_over(self, member: str) -> None:
        for index, owner in self._share.items():
            if owner == member and index not in self._given:
                self._share[index] = LEADER


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
        """How many slots are wanted beside those that have a place."""
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

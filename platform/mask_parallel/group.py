"""The mask-parallel group of one trial, without Ray or clocks: who evaluates which masks of a step.

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
    Reload,
)

_MOST_OUT_OF_SYNC = 3
"""How often a peer may hold other logits than the leader, before it is excluded from the group."""


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

"""Parties: trials of which several slots evaluate the masks. The hub's book-keeping, free of Ray and of clocks.

A party has a leader, whose slot holds the trial's lease, and others who come and go. The masks of a step are shared out
over those who are there; when all losses are in, everybody is told all of them. Whoever is lost, late, or found to hold
other logits than the leader costs the time of its share, which the leader then evaluates itself: the losses are the
same whoever evaluates, and so is the trial.
"""

from dataclasses import dataclass, field
from typing import Any

LEADER = "leader"
_MOST_OUT_OF_SYNC = 3

Losses = dict[int, float]
Answer = dict[str, Any]


@dataclass
class MaskParallelGroup:
    """The participants of one trial under one lease, and the losses of its steps since the last but one checkpoint."""

    masks: int
    step: int
    """The step whose losses are not complete."""
    members: list[str] = field(default_factory=lambda: [LEADER])
    out_of_sync: dict[str, int] = field(default_factory=dict)
    complete: dict[int, list[float]] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    """What has happened that a person should hear of; whoever reads them takes them."""
    _bases: tuple[int, int] = (0, 0)
    _share: dict[int, str] = field(default_factory=dict)
    _given: dict[int, tuple[str, float]] = field(default_factory=dict)
    _digests: dict[str, bytes] = field(default_factory=dict)
    _late: set[str] = field(default_factory=set)

    def join(self, member: str) -> None:
        """Take in a participant; masks fall to it from the next step on."""
        if member not in self.members:
            self.members.append(member)

    def leave(self, member: str) -> None:
        """Do without a participant; what it has not given of this step falls to the leader."""
        if member in self.members:
            self.members.remove(member)
        self._hand_over(member)

    def take_over(self) -> None:
        """Let the leader evaluate whatever is missing of this step.

        Nothing more falls to those who are late until they are heard again: the dead cost one wait and not many.
        """
        self._late |= {owner for index, owner in self._share.items() if index not in self._given} - {LEADER}
        for member in self._late:
            self._hand_over(member)

    def saved(self, step: int) -> None:
        """Learn of a checkpoint: losses before the one before it are needed by nobody any more."""
        if step > self._bases[1]:
            self._bases = (self._bases[1], step)
            self.complete = {known: losses for known, losses in self.complete.items() if known >= self._bases[0]}

    def attend(self, member: str, step: int, given: Losses, digest: bytes) -> Answer | None:
        """Take what a participant has evaluated of a step, and say what it needs next; None while it must wait.

        The answer has one of ``losses`` (of this step and all that are complete after it), ``mine`` (the masks that
        fall to it), ``reload`` (it cannot get on from where it is) and ``over`` (the others can do without it).
        """
        self._late.discard(member)
        if self.out_of_sync.get(member, 0) >= _MOST_OUT_OF_SYNC:
            return {"over": True}
        if step > self.step:
            return None
        if step == self.step:
            self._take(member, given, digest)
        if member not in self.members:
            return {"reload": True}
        if step < self.step:
            known = range(step, self.step)
            whole = all(each in self.complete for each in known)
            return {"losses": [self.complete[each] for each in known]} if whole else {"reload": True}
        mine = [index for index, owner in self._shares().items() if owner == member and index not in self._given]
        return {"mine": mine} if mine else None

    def _shares(self) -> dict[int, str]:
        if not self._share:
            there = [member for member in self.members if member not in self._late]
            self._share = {index: there[index % len(there)] for index in range(self.masks)}
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
        """Drop what was evaluated on other masks than the leader's."""
        for member, digest in list(self._digests.items()):
            if digest != self._digests[LEADER]:
                self.out_of_sync[member] = self.out_of_sync.get(member, 0) + 1
                self.notices.append(f"{member} held other logits than the leader at step {self.step} and starts anew")
                self._given = {index: entry for index, entry in self._given.items() if entry[0] != member}
                self.leave(member)

    def _hand_over(self, member: str) -> None:
        for index, owner in self._share.items():
            if owner == member and index not in self._given:
                self._share[index] = LEADER

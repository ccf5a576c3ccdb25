"""What the peers of a trial and the coordinator tell each other, as values."""

from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.platform.records.payloads import SpecRecord

LEADER = "leader"
Losses = dict[int, float]
"""The losses of masks of one step, by mask index."""


@dataclass(frozen=True, slots=True)
class Member:
    """The member ``name`` of the group of the trial ``key``, under its leader's lease with this epoch."""

    key: str
    epoch: int
    name: str = LEADER

    @property
    def leads(self) -> bool:
        """Whether its slot holds the lease."""
        return self.name == LEADER


@dataclass(frozen=True, slots=True)
class Offer:
    """A place in the group of a trial of this specification."""

    member: Member
    spec: SpecRecord


@dataclass(frozen=True, slots=True)
class Evaluate:
    """A member is to evaluate these masks of its step."""

    masks: Sequence[int]


@dataclass(frozen=True, slots=True)
class AllLosses:
    """The losses of all masks of a member's step, and of the complete steps after it."""

    steps: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Reload:
    """A peer is to start from the newest checkpoint."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A member is to leave: the trial has ended, another slot leads it, or it was out of sync too often."""


@dataclass(frozen=True, slots=True)
class NotOpen:
    """The group of a leader is not open."""


@dataclass(frozen=True, slots=True)
class Wait:
    """There is nothing to do yet."""


Answer = Evaluate | AllLosses | Reload | Closed | NotOpen | Wait

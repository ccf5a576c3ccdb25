"""The interface of engines, which hold the logits of a trial's groups, sample masks from them, and move them.

An engine is exact in distribution: every mask it samples follows the Plackett-Luce law of the logits as they stand
(`nmlab.trials.masks.plackett_luce`). Engines differ in how much they touch to do so.

Legend: G groups of all layers, g some of them, M group size.
"""

import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor

from nmlab.trials.engines.layout import GroupLayout

_KEY = struct.Struct("<QII")


@dataclass(frozen=True, slots=True)
class MaskKey:
    """The key of a mask: every process that holds the logits of that step draws the same mask from it.

    Raises ``ValueError`` unless 0 <= seed < 2^64 and 0 <= step, index < 2^32.
    """

    seed: int
    step: int
    index: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.seed < 2**64 and 0 <= self.step < 2**32 and 0 <= self.index < 2**32):
            raise ValueError(f"{self}: expected 0 <= seed < 2^64 and 0 <= step, index < 2^32")

    def to_bytes(self) -> bytes:
        """Return the key as 16 bytes."""
        return _KEY.pack(self.seed, self.step, self.index)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what ``to_bytes`` wrote; raises ``ValueError`` for another length."""
        if len(data) != _KEY.size:
            raise ValueError(f"a mask key of {len(data)} bytes, expected {_KEY.size}")
        return cls(*_KEY.unpack(data))


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """A sampled mask, as its difference from the mode of the logits at the moment it was drawn.

    ``groups_g`` int64, strictly ascending: the groups whose mask is not the modal one. ``masks_gM`` bool: their masks.
    """

    key: MaskKey
    groups_g: Tensor
    masks_gM: Tensor

    def over(self, mode_GM: Tensor) -> Tensor:
        """Return the whole mask, bool [G, M], over the mode ``mode_GM`` it was drawn at (which is not changed)."""
        mask_GM = mode_GM.clone()
        mask_GM[self.groups_g] = self.masks_gM
        return mask_GM


class Engine(ABC):
    """Logits of all groups of a layout, and the masks drawn from them."""

    name: ClassVar[str]
    layout: GroupLayout

    @abstractmethod
    def sample(self, key: MaskKey) -> Draw:
        """Draw the mask named ``key``; the logits do not change, and the same call returns the same mask."""

    @abstractmethod
    def descend(self, draws: Sequence[Draw], *, weights: Sequence[float], rate: float) -> Tensor:
        """Move the logits by -rate sum_k weights_k d log p(mask_k) / d logits, every score at the same logits.

        The draws must come from the logits as they stand. Returns the groups whose mode changed, int64 ascending.
        """

    def descend_from_keys(self, pairs: Sequence[tuple[MaskKey, float]], *, rate: float) -> Tensor:
        """Do what ``descend`` does with masks known by name only: (key, weight) pairs, the masks drawn anew.

        So a peer that missed a step arrives at the same logits without any mask being sent.
        """
        draws = [self.sample(key) for key, _ in pairs]
        return self.descend(draws, weights=[weight for _, weight in pairs], rate=rate)

    @abstractmethod
    def mode(self, groups_g: Tensor | None = None) -> Tensor:
        """Return the most probable mask of all groups, or of some: the N largest logits, bool [G, M] or [g, M]."""

    @abstractmethod
    def logits(self) -> Tensor:
        """Return the current logits, float32 [G, M]: a copy; reading does not change the engine's state."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """Return everything that an engine made with the same arguments needs to continue, bit for bit.

        Large tensors are those that the engine holds, not copies: copy them to keep them beyond the next step.
        """

    @abstractmethod
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what ``state`` returned."""

    @property
    @abstractmethod
    def state_bytes(self) -> int:
        """Bytes that the engine holds between two steps."""

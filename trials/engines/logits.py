"""Stores of logits: float32, or bfloat16 differences from the initial logits.

Initial logits are C on kept weights and 0 on the others. Plain bfloat16 would lose the updates (its step at 10 is
0.0625); the difference from the initial logits is small wherever a group keeps its most probable mask, and so is its
rounding error.

A state is itself a difference: groups that never left their most probable mask have all moved the same way, so two
numbers (of kept and of dropped weights) represent all of them, and only the other groups are listed.

Legend: G groups of all layers, g some of them, M group size.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from copy import copy
from typing import ClassVar, Self

import torch
from torch import Tensor

from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.engines.checks import check_logits, check_start
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.masks.codes import decode, decode_columns, encode
from nmlab.trials.masks.layout import columns, write_columns
from nmlab.trials.masks.topn import topn

# Some groups: a run of them, or their int64 numbers.
Rows = slice | Tensor

_PIECE = 2**18
# Groups read to find the values that most groups share.
_PROBES = 1024


class LogitStore(ABC):
    """Logits of all groups, read and written as float32; ``held_GM`` is what is held of them.

    ``initial_G`` are the codes of the initial mask.
    """

    name: ClassVar[str]

    def __init__(self, initial_GM: Tensor, *, magnitude: float) -> None:
        self.m = initial_GM.shape[1]
        self.magnitude = magnitude
        self.initial_G = encode(initial_GM)
        self.held_GM = self._start(initial_GM)

    @abstractmethod
    def _start(self, initial_GM: Tensor) -> Tensor:
        """Return what is held at the start, [G, M]."""

    @abstractmethod
    def read(self, rows: Rows) -> Tensor:
        """Return logits as float32 [g, M], for reading only: it may be a view of the store."""

    @abstractmethod
    def write(self, rows: Rows, logits_gM: Tensor) -> None:
        """Replace logits; a store that rounds keeps what `read` then returns."""

    @abstractmethod
    def read_columns(self, rows: slice) -> Tensor:
        """Return a copy of logits, float32 and transposed: [M, g]."""

    @abstractmethod
    def write_columns(self, rows: slice, logits_Mg: Tensor) -> Tensor:
        """Replace logits; returns what is now held, float32 [M, g], which may be the argument."""

    def part(self, rows: slice) -> Self:
        """Return a store of some of the groups on the same memory."""
        part = copy(self)
        part.initial_G, part.held_GM = self.initial_G[rows], self.held_GM[rows]
        return part

    @property
    def device(self) -> torch.device:
        return self.held_GM.device

    @property
    def groups(self) -> int:
        return len(self.held_GM)

    @property
    def nbytes(self) -> int:
        """Bytes that are held between two steps."""
        return self.held_GM.nbytes + self.initial_G.nbytes

    def state(self, *, copied: bool = True) -> dict[str, Tensor]:
        """Return the values as a difference: the two shared values, and the groups that have others.

        Where the list would take more than half of the bytes of all values, these are returned instead: copied, or with
        ``copied=False`` as they are held, for callers that write them before the next step.
        """
        listed = self._listed(at_most=self.held_GM.nbytes // 2)
        return listed or {"values": self.held_GM.clone() if copied else self.held_GM}

    def _listed(self, *, at_most: int) -> dict[str, Tensor] | None:
        """Return the two shared values and the other groups, or None if that takes more than ``at_most`` bytes."""
        shared_2 = self._shared()
        each, found = 8 + self.m * self.held_GM.element_size(), []
        for start, rows in self._others(shared_2):
            at_most -= each * len(rows)
            if at_most < 0:
                return None
            found.append(rows + start)
        other_g = torch.cat(found)
        return {"shared": shared_2, "groups": other_g, "values": self.held_GM[other_g]}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what ``state`` returned; raises ``ValueError`` for values of another layout or store."""
        values_gM = state["values"]
        groups = len(state["groups"]) if "groups" in state else self.groups
        if values_gM.dtype != self.held_GM.dtype or tuple(values_gM.shape) != (groups, self.m):
            raise ValueError(
                f"values of the logits: {values_gM.dtype} of shape {tuple(values_gM.shape)}, expected "
                f"{self.held_GM.dtype} of shape {(groups, self.m)} for the store {self.name}"
            )
        if "groups" not in state:
            self.held_GM.copy_(values_gM)
            return
        shared_2 = state["shared"].to(self.device)
        for rows, held_gM in self._pieces():
            held_gM.copy_(_patterned(self.initial_G[rows], shared_2, self.m))
        self.held_GM[state["groups"].to(self.device)] = values_gM.to(self.device)

    def _pieces(self) -> Iterator[tuple[slice, Tensor]]:
        for start in range(0, self.groups, _PIECE):
            rows = slice(start, min(start + _PIECE, self.groups))
            yield rows, self.held_GM[rows]

    def _others(self, shared_2: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield the groups that do not hold the shared values by piece: its first group, and their places in it."""
        for rows, held_gM in self._pieces():
            differs_g = (held_gM != _patterned(self.initial_G[rows], shared_2, self.m)).any(1)
            yield rows.start, differs_g.nonzero().squeeze(1)

    def _shared(self) -> Tensor:
        """Return the values of kept and dropped weights that most of some evenly spaced groups hold, [2]."""
        probe_g = torch.arange(0, self.groups, max(1, self.groups // _PROBES), device=self.device)
        kept_gM, held_gM = decode(self.initial_G[probe_g], self.m), self.held_GM[probe_g]
        # The first kept and the first dropped weight represent a group; with N = M nothing is dropped.
        first_g2 = torch.stack([kept_gM.int().argmax(1), kept_gM.int().argmin(1)], dim=1)
        pairs_P2, count_P = torch.unique(held_gM.gather(1, first_g2), dim=0, return_counts=True)
        shared_2: Tensor = pairs_P2[count_P.argmax()]
        return shared_2


class Float32Store(LogitStore):
    """A store of float32 logits: four bytes a weight."""

    name = "float32"

    def _start(self, initial_GM: Tensor) -> Tensor:
        return initial_GM.float().mul_(self.magnitude).contiguous()

    def read(self, rows: Rows) -> Tensor:
        return self.held_GM[rows]

    def write(self, rows: Rows, logits_gM: Tensor) -> None:
        self.held_GM[rows] = logits_gM.float()

    def read_columns(self, rows: slice) -> Tensor:
        return columns(self.held_GM[rows])

    def write_columns(self, rows: slice, logits_Mg: Tensor) -> Tensor:
        write_columns(logits_Mg, out_GM=self.held_GM[rows])
        return logits_Mg


class Bfloat16DeltaStore(LogitStore):
    """A store of bfloat16 differences from the initial logits, rounded to nearest: two bytes a weight."""

    name = "bfloat16_delta"

    def _start(self, initial_GM: Tensor) -> Tensor:
        return torch.zeros(initial_GM.shape, dtype=torch.bfloat16, device=initial_GM.device)

    def read(self, rows: Rows) -> Tensor:
        return self.held_GM[rows].float().add_(self._initial(rows), alpha=self.magnitude)

    def write(self, rows: Rows, logits_gM: Tensor) -> None:
        self.held_GM[rows] = logits_gM.float().sub(self._initial(rows), alpha=self.magnitude).bfloat16()

    def read_columns(self, rows: slice) -> Tensor:
        initial_Mg = decode_columns(self.initial_G[rows], self.m)
        return columns(self.held_GM[rows]).float().add_(initial_Mg, alpha=self.magnitude)

    def write_columns(self, rows: slice, logits_Mg: Tensor) -> Tensor:
        initial_Mg = decode_columns(self.initial_G[rows], self.m)
        delta_Mg = torch.sub(logits_Mg, initial_Mg, alpha=self.magnitude).bfloat16()
        write_columns(delta_Mg, out_GM=self.held_GM[rows])
        return delta_Mg.float().add_(initial_Mg, alpha=self.magnitude)

    def _initial(self, rows: Rows) -> Tensor:
        return decode(self.initial_G[rows], self.m).float()


LOGIT_STORES: dict[str, type[LogitStore]] = {store.name: store for store in (Float32Store, Bfloat16DeltaStore)}


def initial_store(layout: GroupLayout, initial_GM: Tensor, *, magnitude: float, kind: str = "float32") -> LogitStore:
    """Return a store of a kind of ``LOGIT_STORES`` with C = ``magnitude`` on the kept weights and 0 on the others.

    Raises ``ValueError`` for an unknown kind, a mask that is not N:M, and a magnitude that is negative or not finite.
    """
    if kind not in LOGIT_STORES:
        raise ValueError(unknown_name(kind, kind="store of logits", known=LOGIT_STORES))
    check_start(initial_GM, magnitude, layout=layout)
    return LOGIT_STORES[kind](initial_GM, magnitude=magnitude)


def store_of(layout: GroupLayout, logits_GM: Tensor, *, kind: str = "float32") -> LogitStore:
    """Return a store of given logits [G, M], rounded as the store does; its initial mask is their mode, C = 0.

    Raises ``ValueError`` for an unknown kind, and where the logits are not finite, naming the layer.
    """
    check_logits(logits_GM, layout=layout)
    store = initial_store(layout, topn(logits_GM, layout.pattern), magnitude=0.0, kind=kind)
    store.write(slice(None), logits_GM)
    return store


def _patterned(initial_g: Tensor, shared_2: Tensor, m: int) -> Tensor:
    """Return [g, M] with one value on the initially kept weights and the other on the others."""
    return shared_2.flip(0)[decode(initial_g, m).long()]

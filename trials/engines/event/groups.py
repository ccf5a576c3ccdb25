"""Every group as of its last write: logits, mode, and the step at which it was written (its stamp).

Legend: G groups, g some of them, s those of them that have drifted since; M group size, N kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines.event.drift import DriftHistory, drifted
from nmlab.trials.engines.logits import LogitStore, Rows
from nmlab.trials.masks.codes import code_dtype, decode, encode
from nmlab.trials.masks.deviation import Race, arrange, kept_first, restore
from nmlab.trials.masks.plackett_luce import score
from nmlab.trials.masks.topn import topn

# Groups worked on at a time when all of them are: what fits the cache of a core, and what keeps a GPU busy.
_PIECE, _PIECE_ON_GPU = 2**14, 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Arranged:
    """Logits of some groups, ``logits_Mg`` float64, arranged for their mode by ``order_gM`` (see `masks.deviation`)."""

    logits_Mg: Tensor
    order_gM: Tensor

    def __getitem__(self, rows_s: Tensor) -> "Arranged":
        """Some of these groups."""
        return Arranged(self.logits_Mg.index_select(1, rows_s), self.order_gM.index_select(0, rows_s))

    def race(self, *, n: int) -> Race:
        """The race of these groups."""
        return Race.of(self.logits_Mg, n=n)

    def score(self, masks_gM: Tensor, *, n: int) -> Tensor:
        """The score of masks, arranged; [M, g]."""
        return score(self.logits_Mg.t(), masks_gM.gather(1, self.order_gM), n=n).t()


class Groups:
    """The logits, modes and stamps of all groups."""

    def __init__(self, store: LogitStore, *, pattern: Pattern) -> None:
        self.store = store
        self._pattern = pattern
        self.stamp_G = torch.zeros(store.groups, dtype=torch.int32, device=store.device)
        self._code_G = self._modes()

    def mode(self, groups_g: Rows | None = None) -> Tensor:
        """Return the modes of all or of some groups; [g, M] bool."""
        return decode(self._code_G if groups_g is None else self._code_G[groups_g], self._pattern.m)

    def order(self, rows: Rows) -> Tensor:
        """Return how groups are arranged for their modes, [g, M] int64: see `masks.deviation`."""
        return _order(self._code_G[rows], self._pattern.m)

    def stored(self, rows: Rows) -> Arranged:
        """Return groups as of their last write."""
        order_gM = self.order(rows)
        return Arranged(arrange(self.store.read(rows).double(), order_gM), order_gM)

    def current(self, rows: Rows, *, history: DriftHistory) -> Arranged:
        """Return groups with their current logits, without writing them."""
        then, since = self.stored(rows), history.since(self.stamp_G[rows])
        return Arranged(drifted(then.logits_Mg, n=self._pattern.n, since=since), then.order_gM)

    def write(self, groups_g: Tensor, logits: Arranged, *, step: int) -> tuple[Arranged, Tensor]:
        """Write groups as of ``step``; return them as stored, and those whose mode changed, int64.

        Stored logits are rounded, which alone may change the mode of a group.
        """
        self.store.write(groups_g, restore(logits.logits_Mg, logits.order_gM))
        self.stamp_G[groups_g] = step
        stored = Arranged(arrange(self.store.read(groups_g).double(), logits.order_gM), logits.order_gM)
        n = self._pattern.n
        if n == self._pattern.m:
            return stored, groups_g[:0]
        # Equal logits are resolved by position, so they are looked at as well.
        doubtful_s = (stored.logits_Mg[:n].amin(0) <= stored.logits_Mg[n:].amax(0)).nonzero().squeeze(1)
        if len(doubtful_s) == 0:
            return stored, groups_g[:0]
        changed_g = self.find_modes(groups_g[doubtful_s])
        return (self.stored(groups_g) if len(changed_g) else stored), changed_g

    def state(self) -> dict[str, Tensor]:
        """Return logits and stamps, the latter as the most common stamp and a list of the groups with another.

        Where that list would take more than half of the bytes of all stamps, these are returned instead.
        """
        logits = {f"logits/{name}": tensor for name, tensor in self.store.state(copied=False).items()}
        return {**self._stamps(at_most=self.stamp_G.nbytes // 2), **logits}

    def _stamps(self, *, at_most: int) -> dict[str, Tensor]:
        pieces = torch.split(self.stamp_G, piece(self.stamp_G.device))
        counts = [torch.unique(part, return_counts=True) for part in pieces]
        stamps, where = torch.unique(torch.cat([stamp for stamp, _ in counts]), return_inverse=True)
        total = torch.zeros(len(stamps), dtype=torch.int64, device=stamps.device)
        total.index_add_(0, where, torch.cat([count for _, count in counts]))
        common = stamps[total.argmax()].to(torch.int32)
        if (len(self.stamp_G) - int(total.max())) * (8 + self.stamp_G.element_size()) > at_most:
            return {"stamp": common, "stamps": self.stamp_G}
        found, start = [], 0
        for part in pieces:
            found.append((part != common).nonzero().squeeze(1) + start)
            start += len(part)
        other_g = torch.cat(found)
        return {"stamp": common, "stamped": other_g, "stamps": self.stamp_G[other_g]}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Continue from what ``state`` returned; modes follow from the logits."""
        prefix = "logits/"
        self.store.load_state({name.removeprefix(prefix): state[name] for name in state if name.startswith(prefix)})
        if "stamped" in state:
            self.stamp_G.fill_(int(state["stamp"]))
            self.stamp_G[state["stamped"].to(self.store.device)] = state["stamps"].to(self.store.device)
        else:
            self.stamp_G.copy_(state["stamps"])
        self._code_G = self._modes()

    def refresh(self, rows: slice, *, step: int) -> None:
        """Compute the modes of a run of groups that another engine has moved until ``step``."""
        self._code_G[rows] = encode(topn(self.store.read(rows), self._pattern))
        self.stamp_G[rows] = step

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.store.nbytes + self.stamp_G.nbytes + self._code_G.nbytes

    def _modes(self) -> Tensor:
        rows = pieces(slice(0, self.store.groups), self.store.device)
        return torch.cat([encode(topn(self.store.read(part), self._pattern)) for part in rows])

    def put_modes(self, groups_g: Tensor, mode_gM: Tensor) -> None:
        """Set the modes of groups whose current logits are not in the store."""
        self._code_G[groups_g] = encode(mode_gM)

    def set_modes(self, groups_g: Tensor, now: Arranged) -> tuple[Arranged, Tensor]:
        """Compute the modes of groups whose current logits are not in the store.

        Returns the groups arranged for these modes, and which modes are new, bool [g].
        """
        logits_gM = restore(now.logits_Mg, now.order_gM)
        code_g = encode(topn(logits_gM, self._pattern))
        is_new_g = code_g != self._code_G[groups_g]
        self._code_G[groups_g] = code_g
        order_gM = self.order(groups_g)
        return Arranged(arrange(logits_gM, order_gM), order_gM), is_new_g

    def find_modes(self, groups_g: Tensor) -> Tensor:
        """Compute the modes of groups after the store was written to; return those whose mode changed."""
        code_g = encode(topn(self.store.read(groups_g), self._pattern))
        changed_g = groups_g[code_g != self._code_G[groups_g]]
        self._code_G[groups_g] = code_g
        return changed_g


# Up to this M the orders of all codes are kept in a table, of 16 kB.
_LARGEST_TABLE_M = 8


def _order(code_g: Tensor, m: int) -> Tensor:
    """`kept_first` of codes; [g, M] int64."""
    if m > _LARGEST_TABLE_M:
        return kept_first(decode(code_g, m))
    return _orders(m, code_g.device).index_select(0, code_g.int())


@cache
def _orders(m: int, device: torch.device) -> Tensor:
    """`kept_first` of every code of M bits; [2^M, M] int64."""
    return kept_first(decode(torch.arange(1 << m, dtype=code_dtype(m), device=device), m))


def piece(device: torch.device) -> int:
    """Return how many groups to work on at a time; no result depends on it."""
    return _PIECE if device.type == "cpu" else _PIECE_ON_GPU


def pieces(rows: slice, device: torch.device) -> list[slice]:
    """Cut a run of groups into runs to work on at a time."""
    size = piece(device)
    return [slice(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size)]

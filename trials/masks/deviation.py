"""The probability that a sampled mask is not the modal one, and draws given that it is not: exact in every tail.

A race: item k arrives at an exponential time of rate w_k = e^logit_k, and the first N arrivals are kept. The mode S
keeps the N largest logits. A group *deviates* when a dropped item arrives before all of S have. Let R be the rate of
the dropped items together and h(A) the probability that one of them arrives before all of A, a subset of S, have:
q = h(S) is the probability of deviating. By inclusion and exclusion over who is late,

    h(A) = sum over B in A, B not empty, of (-1)^(|B|+1) u(B),        u(B) = R / (R + sum of w_i over i in B).

Every u(B) is the probability that a dropped item beats all of B, which is at most h(A), so h(A) comes out with a
relative error of at most a few 2^N units in the last place, 1e-13 for N = 8, however small it is. That is why q is
formed like this and not as 1 - p. Its gradient consists of the same terms:  -dq/dlogit_i = w_i/R sum over B with i of
(-1)^(|B|+1) u(B)^2 for a kept item, and a dropped one takes its share w_k/R of the opposite of their sum.

Given that a group deviates, an item arrives next with probability proportional to w_i times the probability of
deviating from there on (Doob's h-transform): w_i h(A - i) for a kept item while no dropped one has arrived and A is
still awaited, w_i for every item otherwise.

Every sum runs in the same order wherever a group stands, so a group's numbers do not depend on its neighbours.

Legend: G groups (g where they are few), M group size, N kept, D = M - N dropped; A subsets of the kept items as bit
masks. Masks are trusted: no dropped logit above a kept one, and N < M.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, reduce

import torch
import torch.nn.functional as F
from torch import Tensor

# A table of 2^N probabilities a group; beyond it, racing all items costs less.
LARGEST_N = 8
# A lead at which a deviation has probability e^-600; the weights of eight such items still add up in float64.
_LARGEST_LEAD = 600.0
# Elements of a table worked on at a time: what fits the second-level cache of a CPU core.
_TABLE_ELEMENTS = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Race:
    """The rates ``weight_Mg`` of groups' items in units of R, float64; arranged: the N kept items before the others."""

    weight_Mg: Tensor
    n: int

    @classmethod
    def of(cls, arranged_Mg: Tensor, *, n: int) -> "Race":
        """Make the race of some logits, float64 and arranged as `arrange` does for their mode."""
        weight_Mg = (arranged_Mg - arranged_Mg[n:].amax(0)).clamp_(max=_LARGEST_LEAD).exp_()
        return cls(weight_Mg / _total(weight_Mg[n:]), n)

    def __getitem__(self, rows_h: Tensor) -> "Race":
        """The race of some of the groups."""
        return Race(self.weight_Mg.index_select(1, rows_h), self.n)

    def probability(self) -> Tensor:
        """The probability q of deviating; [g]."""
        if self.n == 2:
            return _pair(self.weight_Mg)[1]
        return torch.cat([_whole(part._beaten()) for part in self._parts()])

    def mode_score(self) -> Tensor:
        """Gradient of log(1 - q) by the logits, arranged; [M, g]."""
        return self.mode_score_and_probability()[0]

    def mode_score_and_probability(self) -> tuple[Tensor, Tensor]:
        """Return `mode_score` and `probability` at the cost of one."""
        if self.n == 2:
            slope_Ng, q_g = _pair(self.weight_Mg)
        else:
            slopes, probabilities = zip(*(part._slopes() for part in self._parts()), strict=True)
            slope_Ng, q_g = torch.cat(slopes, dim=1), torch.cat(probabilities)
        slope_Ng = slope_Ng / (1.0 - q_g)
        return torch.cat([slope_Ng, self.weight_Mg[self.n :] * -_total(slope_Ng)]), q_g

    def _slopes(self) -> tuple[Tensor, Tensor]:
        """-dq/dlogit of the kept items, [N, g], and q."""
        beaten_Ag = self._beaten()
        slope_Ag = _over_supersets(beaten_Ag * beaten_Ag.abs(), n=self.n)
        slope_Ng = slope_Ag[_singles(self.n, slope_Ag.device)].mul_(self.weight_Mg[: self.n])
        return slope_Ng, _whole(beaten_Ag)

    def draw(self, uniform_gN: Tensor) -> Tensor:
        """Masks given that all groups deviate, arranged, [M, g] bool."""
        parts = zip(self._parts(), torch.split(uniform_gN, _part_size(self.n)), strict=True)
        return torch.cat([part._draw(part_gN) for part, part_gN in parts], dim=1)

    def _draw(self, uniform_gN: Tensor) -> Tensor:
        """Item after item by inverting what may come."""
        # One row more, for groups in which a dropped item is in already: whatever comes next, they deviate.
        late_Ag = F.pad(_over_subsets(self._beaten(), n=self.n), (0, 0, 0, 1), value=1.0)
        deviated = len(late_Ag) - 1
        others_N1 = ~_singles(self.n, late_Ag.device).unsqueeze(1)
        awaited_1g = torch.full_like(late_Ag[:1], deviated - 1, dtype=torch.int64)
        drawn_Mg = torch.zeros_like(self.weight_Mg, dtype=torch.bool)
        for uniform_g in uniform_gN.unbind(1):
            next_Mg = self.weight_Mg.masked_fill(drawn_Mg, 0.0)
            next_Mg[: self.n].mul_(late_Ag.gather(0, awaited_1g & others_N1))
            chosen_1g = _choose(next_Mg, uniform_g)
            drawn_Mg.scatter_(0, chosen_1g, True)
            awaited_1g = (awaited_1g & ~(1 << chosen_1g)).masked_fill_(chosen_1g >= self.n, deviated)
        return drawn_Mg

    def _parts(self) -> list["Race"]:
        """Return the race in parts whose tables fit the cache; one empty part if there is no group."""
        return [Race(part_Mg, self.n) for part_Mg in torch.split(self.weight_Mg, _part_size(self.n), dim=1)]

    def _beaten(self) -> Tensor:
        """u(A) with its sign, and 0 for the empty subset; [2^N, g], row A for the subset whose bits are A."""
        total_Ag = torch.ones_like(self.weight_Mg[:1])
        for weight_g in self.weight_Mg[: self.n].unbind(0):
            total_Ag = torch.cat([total_Ag, total_Ag + weight_g])
        return _signs(self.n, total_Ag.device) / total_Ag


def kept_first(mask_GM: Tensor) -> Tensor:
    """Positions of the kept items and then of the dropped ones, each ascending; [G, M] int64."""
    return mask_GM.sort(dim=1, descending=True, stable=True).indices


def arrange(tensor_gM: Tensor, order_gM: Tensor) -> Tensor:
    """Put the items of every group in the order of `kept_first`; [M, g]."""
    return tensor_gM.gather(1, order_gM).t().contiguous()


def restore(arranged_Mg: Tensor, order_gM: Tensor) -> Tensor:
    """Undo `arrange`; [g, M]."""
    tensor_gM = torch.empty(order_gM.shape, dtype=arranged_Mg.dtype, device=arranged_Mg.device)
    return tensor_gM.scatter_(1, order_gM, arranged_Mg.t())


@torch.no_grad()
def probability(logits_GM: Tensor, mode_GM: Tensor, *, n: int) -> Tensor:
    """Probability q that a group's sampled mask is not its mode; [G] float64.

    Args:
        logits_GM: [G, M] finite.
        mode_GM: [G, M] bool, the N largest logits of every row.
        n: N, at most `LARGEST_N`.
    """
    return torch.cat([race.probability() for race, _ in _races(logits_GM, mode_GM, n=n)])


@torch.no_grad()
def mode_score(logits_GM: Tensor, mode_GM: Tensor, *, n: int) -> Tensor:
    """Gradient of log(1 - q), the log-probability of the mode, by the logits; [G, M] float64.

    `plackett_luce.score` of the mode, but to the relative precision of q where that is exact to 1e-16 of 1. Arguments
    as for `probability`.
    """
    return torch.cat([restore(race.mode_score(), order_gM) for race, order_gM in _races(logits_GM, mode_GM, n=n)])


@torch.no_grad()
def draw(logits_gM: Tensor, mode_gM: Tensor, uniform_gN: Tensor) -> Tensor:
    """Masks of groups that deviate: the Plackett-Luce law given that the mask is not the mode.

    Args:
        logits_gM: [g, M] finite.
        mode_gM: [g, M] bool, the N largest logits of every row.
        uniform_gN: [g, N] float64, independent uniforms in [0, 1), N at most `LARGEST_N`.

    Returns:
        [g, M] bool, N kept in every row, never the mode.
    """
    n = uniform_gN.shape[1]
    races = zip(_races(logits_gM, mode_gM, n=n), torch.split(uniform_gN, _part_size(n)), strict=True)
    return torch.cat([restore(race.draw(uniform_gN), order_gM) for (race, order_gM), uniform_gN in races])


def _races(logits_GM: Tensor, mode_GM: Tensor, *, n: int) -> Iterator[tuple[Race, Tensor]]:
    """Race and order of as many groups at a time as their tables fit the cache; at least one part, if empty."""
    size = _part_size(n)
    for logits_gM, mode_gM in zip(torch.split(logits_GM, size), torch.split(mode_GM, size), strict=True):
        order_gM = kept_first(mode_gM)
        yield Race.of(arrange(logits_gM.double(), order_gM), n=n), order_gM


def _part_size(n: int) -> int:
    return _TABLE_ELEMENTS >> n


@cache
def _signs(n: int, device: torch.device) -> Tensor:
    """(-1)^(|A|+1), and 0 for the empty subset; [2^N, 1] float64."""
    sign_A = [-((-1.0) ** subset.bit_count()) if subset else 0.0 for subset in range(1 << n)]
    return torch.tensor(sign_A, dtype=torch.float64, device=device).unsqueeze(1)


@cache
def _singles(n: int, device: torch.device) -> Tensor:
    """The subsets of one item; [N] int64."""
    return 1 << torch.arange(n, device=device)


def _pair(weight_Mg: Tensor) -> tuple[Tensor, Tensor]:
    """`Race._slopes` for N = 2, written out: -dq/dlogit_i = w_i w_j u_i u_ij (u_i + u_ij), where nothing cancels."""
    first_g, second_g = weight_Mg[0], weight_Mg[1]
    both_g = (first_g + second_g).add_(1.0).reciprocal_()
    either_2g = (weight_Mg[:2] + 1.0).reciprocal_()
    slope_2g = (either_2g + both_g).mul_(either_2g).mul_(both_g * first_g * second_g)
    return slope_2g, either_2g[0] + either_2g[1] - both_g


def _whole(beaten_Ag: Tensor) -> Tensor:
    """h of the whole kept set: the sum over all subsets, halves added to halves; [g]."""
    while len(beaten_Ag) > 1:
        beaten_Ag = torch.add(*beaten_Ag.chunk(2))
    return beaten_Ag[0]


def _over_subsets(beaten_Ag: Tensor, *, n: int) -> Tensor:
    """h(A) of every A: item by item, subsets with the item add those without it; in place."""
    for item in range(n):
        halves = _halves(beaten_Ag, item, n=n)
        halves[:, 1] += halves[:, 0]
    return beaten_Ag


def _over_supersets(beaten_Ag: Tensor, *, n: int) -> Tensor:
    """The sum over all B that contain A, for every A; in place."""
    for item in range(n):
        halves = _halves(beaten_Ag, item, n=n)
        halves[:, 0] += halves[:, 1]
    return beaten_Ag


def _halves(table_Ag: Tensor, item: int, *, n: int) -> Tensor:
    """A view [.., 2, .., g] of a table whose second axis says whether ``item`` is in the subset."""
    return table_Ag.view(1 << (n - 1 - item), 2, 1 << item, table_Ag.shape[1])


def _choose(weight_Mg: Tensor, uniform_g: Tensor) -> Tensor:
    """Positions [1, g], each with probability proportional to its weight; one of weight zero is never chosen."""
    cumulative_Mg = weight_Mg.cumsum(0)
    # u < 1 keeps the threshold below the total even after rounding, so the position exists and has weight.
    return (cumulative_Mg <= uniform_g * cumulative_Mg[-1]).sum(0, keepdim=True)


def _total(tensor_Mg: Tensor) -> Tensor:
    """Sum over the group, row after row, [g]; `Tensor.sum` adds in an order that depends on the position."""
    return reduce(torch.add, tensor_Mg.unbind(0))

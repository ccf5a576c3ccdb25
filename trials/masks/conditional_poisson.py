"""The conditional Poisson distribution over N-subsets: p(S) in proportion to the product of e^logit over its items.

It is M independent choices given that N of them are made. Unlike a Plackett-Luce set it is an exponential family: the
Jacobian of its marginals is its covariance. ``subset_sample`` draws exactly and passes gradients through the marginals
(SIMPLE, Ahmed et al. 2023, arXiv:2210.01941).

Elementary symmetric polynomials of e^logit overflow. Here the choices get the probabilities of `inclusion`, by which N
are expected: the polynomials then are probabilities of counts, all in [0, 1], and that of N is not small. Everything is
a sum of products of positive numbers in float64, apart from the last subtraction of a covariance.

Legend: G groups, g groups of one chunk, M group size, N kept, C = N + 2 counts from -1 to N.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol, Self

import torch
from torch import Tensor

from nmlab.trials.masks.inclusion import inclusion
from nmlab.trials.masks.layout import chunks, columns, total, write_columns

# Numbers in the table of a chunk, M + 1 arrays [C, g] of float64: about the cache of a CPU core, and 256 MB elsewhere.
_TABLE, _TABLE_ON_DEVICE = 2**19, 2**25


def subset_sample(
    logits_GM: Tensor, logistic_GM: Tensor, *, lam: float = 1.0, n: int, layers: Sequence[int] = ()
) -> Tensor:
    """Return a mask of 0 and 1 [G, M], drawn with logits / lam, whose gradient is that of the marginals (once).

    Args:
        logits_GM: [G, M] float32 or float64; the result has its type.
        logistic_GM: [G, M] standard logistic noise, which says in turn of every item whether it is drawn.
        lam: divisor of the logits, > 0.
        n: kept a group, 1 <= n <= M.
        layers: groups of each layer, where the result must not depend on which layers come together; see ``chunks``.
    """
    mask_GM = _SubsetSample.apply(logits_GM, logistic_GM, lam, n, layers)  # type: ignore[no-untyped-call]
    assert isinstance(mask_GM, Tensor)
    return mask_GM


@torch.no_grad()
def marginals(logits_GM: Tensor, *, lam: float = 1.0, n: int) -> Tensor:
    """Return the probability of every item to be in the subset, [G, M] in the type of the logits; rows sum to N."""
    out_GM = torch.ones_like(logits_GM)
    for logits_gM, out_gM in _tables(logits_GM, out_GM, n=n):
        write_columns(_Chain.of(logits_gM, lam=lam, n=n).marginals(), out_GM=out_gM)
    return out_GM


class _Context(Protocol):
    """What torch gives to a forward, and what that keeps for its backward."""

    saved_tensors: tuple[Tensor, ...]
    lam: float
    n: int
    layers: Sequence[int]

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _SubsetSample(torch.autograd.Function):
    """An exact draw forward; backward the product of the gradient with the covariance of the items."""

    @staticmethod
    def forward(
        ctx: _Context, logits_GM: Tensor, logistic_GM: Tensor, lam: float, n: int, layers: Sequence[int]
    ) -> Tensor:
        ctx.save_for_backward(logits_GM)
        ctx.lam, ctx.n, ctx.layers = lam, n, layers
        mask_GM = torch.ones_like(logits_GM)
        for logits_gM, logistic_gM, mask_gM in _tables(logits_GM, logistic_GM, mask_GM, n=n, layers=layers):
            write_columns(_Chain.of(logits_gM, lam=lam, n=n).draw(columns(logistic_gM)), out_GM=mask_gM)
        return mask_GM

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: _Context, gradient_GM: Tensor) -> tuple[Tensor | None, ...]:
        (logits_GM,) = ctx.saved_tensors
        out_GM = torch.zeros_like(logits_GM)
        for logits_gM, gradient_gM, out_gM in _tables(logits_GM, gradient_GM, out_GM, n=ctx.n, layers=ctx.layers):
            chain = _Chain.of(logits_gM, lam=ctx.lam, n=ctx.n)
            write_columns(chain.covariance_with(columns(gradient_gM).double()).div_(ctx.lam), out_GM=out_gM)
        return out_GM, None, None, None, None


def _tables(*tensors_GM: Tensor, n: int, layers: Sequence[int] = ()) -> Iterator[tuple[Tensor, ...]]:
    """Yield chunks small enough for their tables of counts; none where all M are kept."""
    m = tensors_GM[0].shape[1]
    if n == m:
        return
    room = _TABLE if tensors_GM[0].device.type == "cpu" else _TABLE_ON_DEVICE
    groups = max(1, room // ((m + 1) * (n + 2)))
    for parts in chunks(*tensors_GM, layers=layers):
        yield from zip(*(torch.split(part, groups) for part in parts), strict=True)


@dataclass(frozen=True, eq=False)
class _Chain:
    """The choices of every group one after the other: the probability of each to be made, and not to be made."""

    take_Mg: Tensor
    leave_Mg: Tensor
    n: int

    @classmethod
    def of(cls, logits_gM: Tensor, *, lam: float, n: int) -> Self:
        kept_Mg, deviation_Mg = inclusion(columns(logits_gM).double().div_(lam), n)
        return cls(kept_Mg + deviation_Mg, 1 - kept_Mg - deviation_Mg, n)

    def counts(self) -> list[Tensor]:
        """Return for 0 to M choices the probability [C, g] of every number of those that are made."""
        start_Cg = self.take_Mg.new_zeros(self.n + 2, self.take_Mg.shape[1])
        start_Cg[1] = 1
        table = [start_Cg]
        for take_g, leave_g in zip(self.take_Mg, self.leave_Mg, strict=True):
            table.append(_with_choice(table[-1], take_g, leave_g))
        return table

    def draw(self, logistic_Mg: Tensor) -> Tensor:
        """Return a draw of 0 and 1, [M, g] float64: the last choice first, each given how many are still to be made.

        An item is drawn where the noise is below its log odds, which are infinite where the number leaves no choice.
        """
        table = self.counts()
        drawn_Mg = torch.empty_like(self.take_Mg)
        left_1g = torch.full((1, drawn_Mg.shape[1]), self.n, device=drawn_Mg.device)
        for item in reversed(range(len(drawn_Mg))):
            with_it_g = table[item].gather(0, left_1g)[0] * self.take_Mg[item]
            without_it_g = table[item].gather(0, left_1g + 1)[0] * self.leave_Mg[item]
            is_drawn_g = logistic_Mg[item] < with_it_g.log_() - without_it_g.log_()
            drawn_Mg[item] = is_drawn_g
            left_1g -= is_drawn_g.to(left_1g.dtype)
        return drawn_Mg

    def marginals(self) -> Tensor:
        """Return the probability of every item, [M, g] float64."""
        table, after_Ng = self.counts(), self._nothing_after()
        out_Mg = torch.empty_like(self.take_Mg)
        for item in reversed(range(len(out_Mg))):
            torch.mul(total(table[item][1:-1] * after_Ng), self.take_Mg[item], out=out_Mg[item])
            after_Ng = _before_choice(after_Ng, self.take_Mg[item], self.leave_Mg[item])
        return out_Mg.div_(table[-1][-1])

    def covariance_with(self, outer_Mg: Tensor) -> Tensor:
        """Return the covariance of every item with sum_i outer_i item_i, [M, g]: the marginals' Jacobian times outer.

        It is the derivative of the marginals where logits move along ``outer``, computed as a second number beside
        every probability. A shift of ``outer`` changes nothing; from its mean the subtraction at the end loses least.
        """
        variance_Mg = self.take_Mg * self.leave_Mg
        outer_Mg = outer_Mg - total(variance_Mg * outer_Mg).div_(total(variance_Mg))
        table = self.counts()
        moved = self._moved(table, outer_Mg)
        after_Ng, moved_after_Ng = self._nothing_after(), torch.zeros_like(table[0][1:-1])
        marginal_Mg, moved_Mg = torch.empty_like(outer_Mg), torch.empty_like(outer_Mg)
        for item in reversed(range(len(outer_Mg))):
            take_g, leave_g, outer_g = self.take_Mg[item], self.leave_Mg[item], outer_Mg[item]
            before_Ng, moved_before_Ng = table[item][1:-1], moved[item][1:-1]
            marginal_Mg[item] = total(before_Ng * after_Ng).mul_(take_g)
            moved_Mg[item] = total(torch.addcmul(moved_before_Ng * after_Ng, before_Ng, moved_after_Ng)).mul_(take_g)
            moved_Mg[item].addcmul_(outer_g, marginal_Mg[item])
            moved_after_Ng = _before_choice(moved_after_Ng, take_g, leave_g)
            moved_after_Ng[:-1].addcmul_(after_Ng[1:], take_g * outer_g)
            after_Ng = _before_choice(after_Ng, take_g, leave_g)
        return moved_Mg.addcmul_(marginal_Mg, moved[-1][-1] / table[-1][-1], value=-1).div_(table[-1][-1])

    def _moved(self, table: Sequence[Tensor], outer_Mg: Tensor) -> list[Tensor]:
        """Return the derivatives of ``counts`` where the logits move along ``outer``."""
        moved = [torch.zeros_like(table[0])]
        choices = zip(self.take_Mg, self.leave_Mg, outer_Mg, strict=True)
        for (before_Cg, _), (take_g, leave_g, outer_g) in zip(pairwise(table), choices, strict=True):
            moved.append(_with_choice(moved[-1], take_g, leave_g))
            moved[-1][1:].addcmul_(before_Cg[:-1], take_g * outer_g)
        return moved

    def _nothing_after(self) -> Tensor:
        """Return [N, g]: 1 where no more need be made after an item, 0 elsewhere; row c is for c made before it."""
        after_Ng = self.take_Mg.new_zeros(self.n, self.take_Mg.shape[1])
        after_Ng[-1] = 1
        return after_Ng


def _with_choice(counts_Cg: Tensor, take_g: Tensor, leave_g: Tensor) -> Tensor:
    """Return the probabilities of counts with one more choice."""
    more_Cg = counts_Cg * leave_g
    more_Cg[1:].addcmul_(counts_Cg[:-1], take_g)
    return more_Cg


def _before_choice(after_Ng: Tensor, take_g: Tensor, leave_g: Tensor) -> Tensor:
    """Return the probability to reach N, by how many were made before the item ahead of this choice."""
    before_Ng = after_Ng * leave_g
    before_Ng[:-1].addcmul_(after_Ng[1:], take_g)
    return before_Ng

"""The relaxed draw of N of M without replacement (SUSI, Algorithm 1), and the same draw without relaxation.

Legend: G groups, g groups of one chunk, M group size. Work is done in the transposed layout [M, g], a chunk at a time,
and the backward repeats the forward of its chunk: a pass over all groups would cost memory traffic, and would keep a
dozen tensors of the model's size for the backward.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from nmlab.trials.masks.layout import chunks, columns, write_columns
from nmlab.trials.masks.topn import keep_largest, keep_largest_columns


def relaxed_mask(
    logits_GM: Tensor,
    gumbel_GM: Tensor,
    *,
    tau: float,
    lam: float,
    n: int,
    exclude_argmax: bool = False,
    layers: Sequence[int] = (),
) -> Tensor:
    """Return the soft mask [G, M] of one draw, differentiable in the logits (once).

    N times over: add softmax(keys / tau) to the mask, then log(1 - softmax) to the keys, which start as
    logits / lam + gumbel. Rows sum to N. A row need not lie in [0, 1]: for N >= 3 the leader of a group may be picked
    twice where the gaps between its keys differ much, at any temperature.

    ``exclude_argmax``, which the paper has not, prevents that: the largest key of a pick (the lower index of equal
    ones) takes part in no later pick, and the mask becomes that of the N largest keys as tau falls to 0.

    Args:
        logits_GM: [G, M] finite, float32 or float64; the result has its type.
        gumbel_GM: [G, M] standard Gumbel noise.
        tau: temperature of the keys, > 0.
        lam: divisor of the logits before the noise, > 0.
        n: kept a group, 1 <= n <= M.
        exclude_argmax: whether an item that was picked is excluded from later picks.
        layers: groups of each layer, where the result must not depend on which layers come together; see ``chunks``.
    """
    draw = _Draw(tau, lam, n, exclude_argmax)
    mask_GM = _RelaxedMask.apply(logits_GM, gumbel_GM, draw, layers)  # type: ignore[no-untyped-call]
    assert isinstance(mask_GM, Tensor)
    return mask_GM


def sampled_mask(logits_GM: Tensor, gumbel_GM: Tensor, *, lam: float, n: int) -> Tensor:
    """Return the mask of the N largest perturbed logits, boolean [G, M]: what the relaxed draw stands for."""
    kept_GM = torch.empty(logits_GM.shape, dtype=torch.bool, device=logits_GM.device)
    for logits_gM, gumbel_gM, kept_gM in chunks(logits_GM.detach(), gumbel_GM, kept_GM):
        kept_gM.copy_(keep_largest(logits_gM / lam + gumbel_gM, n))
    return kept_GM


class Pick(NamedTuple):
    """One softmax over the keys of each group, in parts that neither cancel nor underflow.

    A share above a half is its group's leader; where two share the lead there is none.
    """

    share_Mg: Tensor
    leads_Mg: Tensor
    """Boolean: the one largest key of its group."""
    behind_Mg: Tensor
    """exp(key - second largest key), 0 for the leader."""
    beside_g: Tensor
    """The sum of ``behind_Mg``."""
    log_left_Mg: Tensor
    """log(1 - share): a share of at most a half by log1p, the leader's from what is beside it.

    (1 - share in float32 is 0 for a leader by 17, and the gradient of its logarithm NaN.)
    """


def pick(keys_Mg: Tensor) -> Pick:
    """Return softmax and log(1 - softmax) over the first axis, M >= 2."""
    first_g, second_g = _two_largest(keys_Mg)
    leads_Mg = keys_Mg > second_g
    behind_Mg = (keys_Mg - second_g).clamp_(max=0).exp_().masked_fill_(leads_Mg, 0)
    beside_g, gap_g = behind_Mg.sum(dim=0), second_g - first_g
    lag_g = gap_g.exp()
    total_g = torch.addcmul((first_g > second_g).to(keys_Mg.dtype), lag_g, beside_g)
    share_Mg = torch.where(leads_Mg, total_g.reciprocal(), behind_Mg * (lag_g / total_g))
    log_left_g = gap_g + (beside_g / total_g).log_()
    return Pick(share_Mg, leads_Mg, behind_Mg, beside_g, torch.where(leads_Mg, log_left_g, (-share_Mg).log1p_()))


class _Draw(NamedTuple):
    """The settings of a relaxed draw."""

    tau: float
    lam: float
    n: int
    exclude_argmax: bool


class _Context(Protocol):
    """What torch gives to a forward, and what that keeps for its backward."""

    saved_tensors: tuple[Tensor, ...]
    draw: _Draw
    layers: Sequence[int]

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _RelaxedMask(torch.autograd.Function):
    """The draw with an explicit derivative; the backward computes ``pick`` again."""

    @staticmethod
    def forward(ctx: _Context, logits_GM: Tensor, gumbel_GM: Tensor, draw: _Draw, layers: Sequence[int]) -> Tensor:
        ctx.save_for_backward(logits_GM, gumbel_GM)
        ctx.draw, ctx.layers = draw, layers
        mask_GM = torch.empty_like(logits_GM)
        for logits_gM, gumbel_gM, mask_gM in chunks(logits_GM, gumbel_GM, mask_GM, layers=layers):
            mask_Mg = torch.zeros_like(logits_gM.T)
            for share_Mg, _ in _picks(logits_gM, gumbel_gM, draw):
                mask_Mg = mask_Mg.add_(share_Mg)
            write_columns(mask_Mg, out_GM=mask_gM)
        return mask_GM

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: _Context, gradient_GM: Tensor) -> tuple[Tensor | None, ...]:
        logits_GM, gumbel_GM = ctx.saved_tensors
        tau, lam = ctx.draw.tau, ctx.draw.lam
        out_GM = torch.empty_like(logits_GM)
        tensors = logits_GM, gumbel_GM, gradient_GM, out_GM
        for logits_gM, gumbel_gM, gradient_gM, out_gM in chunks(*tensors, layers=ctx.layers):
            outer_Mg = columns(gradient_gM)
            toward_keys_Mg = torch.zeros_like(outer_Mg)
            for share_Mg, picked in reversed(list(_picks(logits_gM, gumbel_gM, ctx.draw))):
                toward_keys_Mg = _before_pick(
                    outer_Mg, after_Mg=toward_keys_Mg, share_Mg=share_Mg, picked=picked, tau=tau
                )
            write_columns(toward_keys_Mg.div_(tau * lam), out_GM=out_gM)
        return out_GM, None, None, None


class _Picked(NamedTuple):
    """A pick but for the last one, and which items take no part in later ones, boolean; None where all do."""

    pick: Pick
    excluded_Mg: Tensor | None


def _picks(logits_gM: Tensor, gumbel_gM: Tensor, draw: _Draw) -> Iterator[tuple[Tensor, _Picked | None]]:
    """Yield for each of the N picks the share [M, g] of every item, and the pick itself but for the last one."""
    logits_Mg = columns(logits_gM)
    # A shift of a whole group changes nothing but the rounding: near the largest key it is now that of the differences.
    keys_Mg = logits_Mg.sub_(logits_Mg.amax(dim=0)).div_(draw.lam).add_(columns(gumbel_gM)).div_(draw.tau)
    for _ in range(draw.n - 1):
        picked = pick(keys_Mg)
        excluded_Mg = keep_largest_columns(keys_Mg, 1) if draw.exclude_argmax else None
        yield picked.share_Mg, _Picked(picked, excluded_Mg)
        keys_Mg = keys_Mg.add_(picked.log_left_Mg, alpha=1 / draw.tau)
        if excluded_Mg is not None:
            keys_Mg.masked_fill_(excluded_Mg, -torch.inf)
    yield keys_Mg.softmax(dim=0), None


def _before_pick(outer_Mg: Tensor, *, after_Mg: Tensor, share_Mg: Tensor, picked: _Picked | None, tau: float) -> Tensor:
    """Return the gradient with respect to the keys before a pick.

    ``outer_Mg`` is the gradient with respect to the mask, to which the pick adds its shares; ``after_Mg`` that with
    respect to the keys after it. d share_i / d key_j is share_i ((i = j) - share_j); d log(1 - share_i) / d key_j is
    odds_i (share_j - (i = j)) for a follower, odds = share / (1 - share) <= 1; for the leader, whose odds may overflow,
    it is behind_j / beside - share_j. An excluded item has no key after the pick.
    """
    common_g = (share_Mg * outer_Mg).sum(dim=0).neg_()
    if picked is None:
        return share_Mg * (outer_Mg + common_g)
    made, excluded_Mg = picked
    if excluded_Mg is not None:
        after_Mg = after_Mg.masked_fill(excluded_Mg, 0)
    follower_Mg = after_Mg.masked_fill(made.leads_Mg, 0)
    leader_g = (after_Mg - follower_Mg).sum(dim=0)
    odds_Mg = follower_Mg.mul_(share_Mg).div_((1 - share_Mg).clamp_(min=0.5))  # below a half for the leader only
    common_g.add_(odds_Mg.sum(dim=0).sub_(leader_g), alpha=1 / tau)
    before_Mg = torch.addcmul(after_Mg, share_Mg, outer_Mg + common_g)
    before_Mg.addcmul_(made.behind_Mg, leader_g / made.beside_g, value=1 / tau)
    return before_Mg.sub_(odds_Mg, alpha=1 / tau)


def _two_largest(keys_Mg: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest and the second largest key of each group, one number where two share the lead."""
    first_g, second_g = torch.maximum(keys_Mg[0], keys_Mg[1]), torch.minimum(keys_Mg[0], keys_Mg[1])
    for key_g in keys_Mg[2:]:
        second_g = torch.maximum(second_g, torch.minimum(first_g, key_g))
        first_g = torch.maximum(first_g, key_g)
    return first_g, second_g

"""Entropic top-N: the soft mask nearest to the logits, with an entropy that keeps it inside (0, 1).

Of all masks m in [0, 1]^M that sum to N it maximises <logits / lambda, m> + tau * H(m), H the sum of the entropies of
the single entries; so m_i = sigmoid((logit_i / lambda - nu) / tau), with one threshold nu a group. As tau falls to 0 it
becomes the top-N. It is the soft top-k of entropy-regularised optimal transport (Xie et al. 2020, arXiv:2002.06504) in
closed form up to nu, one of the family of Sander et al. 2023, arXiv:2302.01425.

Legend: G groups, g groups of one chunk, M group size. Work is done in the transposed layout [M, g], a chunk at a time.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from nmlab.trials.masks.inclusion import inclusion
from nmlab.trials.masks.layout import chunks, columns, total, write_columns


def entropic_topn(
    logits_GM: Tensor,
    *,
    tau: float,
    lam: float = 1.0,
    n: int,
    noise_GM: Tensor | None = None,
    layers: Sequence[int] = (),
) -> Tensor:
    """Return the soft mask [G, M], differentiable in the logits (once); rows sum to N and lie in [0, 1].

    Args:
        logits_GM: [G, M] float32 or float64, whose type the result has, or 16 bits wide, which gives float32. Infinite
            logits count as the largest and the smallest, equal ones share; a group with a NaN becomes NaN.
        tau: temperature, > 0.
        lam: divisor of the logits before the noise, > 0.
        n: kept a group, 1 <= n <= M.
        noise_GM: [G, M] added to logits / lam; None adds nothing.
        layers: groups of each layer, where the result must not depend on which layers come together; see ``chunks``.
    """
    mask_GM = _EntropicTopN.apply(logits_GM, noise_GM, tau, lam, n, layers)  # type: ignore[no-untyped-call]
    assert isinstance(mask_GM, Tensor)
    return mask_GM


class _Context(Protocol):
    """What torch gives to a forward, and what that keeps for its backward."""

    saved_tensors: tuple[Tensor, ...]
    scale: float
    layers: Sequence[int]
    keeps_all: bool
    input_dtype: torch.dtype

    def save_for_backward(self, *tensors: Tensor) -> None: ...


class _EntropicTopN(torch.autograd.Function):
    """The mask with an explicit derivative; the backward needs the mask's deviation from the hard one, nothing else.

    Unlike the mask itself, the deviation keeps in float32 how far a nearly hard entry is from 1.
    """

    @staticmethod
    def forward(
        ctx: _Context,
        logits_GM: Tensor,
        noise_GM: Tensor | None,
        tau: float,
        lam: float,
        n: int,
        layers: Sequence[int],
    ) -> Tensor:
        deviation_GM = torch.zeros(logits_GM.shape, dtype=_result_type(logits_GM), device=logits_GM.device)
        mask_GM = torch.ones_like(deviation_GM)
        ctx.save_for_backward(deviation_GM)
        ctx.scale, ctx.layers, ctx.input_dtype = tau * lam, layers, logits_GM.dtype
        ctx.keeps_all = n == logits_GM.shape[1]
        if ctx.keeps_all:
            return mask_GM
        # The second tensor is not read where there is no noise.
        parts = logits_GM, logits_GM if noise_GM is None else noise_GM, deviation_GM, mask_GM
        for logits_gM, noise_gM, deviation_gM, mask_gM in chunks(*parts, layers=layers):
            keys_Mg = columns(logits_gM).double().div_(lam)
            if noise_GM is not None:
                keys_Mg.add_(columns(noise_gM))
            found = inclusion(keys_Mg.div_(tau), n)
            write_columns(found.deviation_Mg, out_GM=deviation_gM)
            write_columns(found.probability_Mg, out_GM=mask_gM)
        return mask_GM

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: _Context, gradient_GM: Tensor) -> tuple[Tensor | None, ...]:
        """With v = m (1 - m) the derivative is v_i (g_i - sum(v g) / sum(v)) / (tau lam), where g is the gradient."""
        (deviation_GM,) = ctx.saved_tensors
        out_GM = torch.zeros(deviation_GM.shape, dtype=ctx.input_dtype, device=deviation_GM.device)
        if ctx.keeps_all:
            return out_GM, None, None, None, None, None
        for deviation_gM, gradient_gM, out_gM in chunks(deviation_GM, gradient_GM, out_GM, layers=ctx.layers):
            miss_Mg, outer_Mg = columns(deviation_gM).double().abs_(), columns(gradient_gM).double()
            variance_Mg = torch.addcmul(miss_Mg, miss_Mg, miss_Mg, value=-1)
            mean_g = total(variance_Mg * outer_Mg).div_(total(variance_Mg))
            write_columns(outer_Mg.sub_(mean_g).mul_(variance_Mg).div_(ctx.scale), out_GM=out_gM)
        return out_GM, None, None, None, None, None


def _result_type(logits_GM: Tensor) -> torch.dtype:
    return logits_GM.dtype if logits_GM.dtype == torch.float64 else torch.float32

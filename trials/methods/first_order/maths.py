"""A step of logits against a gradient of heavy tails, and the choice of its size: pure functions.

A group keeps the N largest of its M logits. With g_i = dL/dm_i, the derivative of the loss with respect to the mask at
some m, keeping i in place of j changes the loss by g_i - g_j to first order; so every logit falls by kappa times its g,
scaled. Gradients of language models have heavy tails: divided by their standard deviation, most of them vanish beside
a few, and these few become larger than any difference between logits. Scales here bound them.

Legend: G groups of one layer, M group size.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nmlab.trials.methods.first_order.config import GradientScale

_LARGEST = 3.0  # of clipped values, in standard deviations that the median stands for
_MEDIAN_OF_NORMAL = 0.6744897501960817  # the median size of a standard normal number


def scaled_gradient(gradient_GM: Tensor, scale: GradientScale) -> Tensor:
    """Return the gradient of one layer on a scale on which a typical entry has the size 1, float32 [G, M].

    A positive factor of the gradient makes no difference, apart from rounding; zeros stay zero, and signs are kept.

    Args:
        gradient_GM: [G, M] finite, float32.
        scale: "ranks" gives each size the quantile of a standard normal number's size that its rank has, so that
            nothing but the order of sizes matters; "clipped" divides by the median size, and cuts at three standard
            deviations of the normal distribution that has this median; "std" divides by the root of the mean square.
    """
    if scale == "ranks":
        return _by_rank(gradient_GM)
    if scale == "clipped":
        median = float(gradient_GM.abs().median())
        if median > 0:
            return (gradient_GM * (_MEDIAN_OF_NORMAL / median)).clamp_(-_LARGEST, _LARGEST)
        return gradient_GM.sign() * _LARGEST  # most are zero, and the others infinitely larger than these
    spread = float(gradient_GM.square().mean(dtype=torch.float64).sqrt())
    return gradient_GM / spread if spread > 0 else gradient_GM.clone()


def _by_rank(gradient_GM: Tensor) -> Tensor:
    size_E = gradient_GM.abs().flatten()
    order_E = size_E.argsort(stable=True)
    # float64, because the largest quantiles of many entries are those of shares next to 1.
    share_E = torch.arange(0.5, len(size_E), dtype=torch.float64, device=size_E.device).div_(len(size_E))
    quantile_E = torch.empty_like(size_E)
    quantile_E[order_E] = torch.special.ndtri(share_E.add_(1).div_(2)).to(size_E.dtype)
    return quantile_E.view_as(gradient_GM).mul_(gradient_GM.sign())


def shifted_logits(logits_GM: Tensor, gradient_GM: Tensor, *, kappa: float) -> Tensor:
    """Return logits - kappa * gradient, [G, M]: a step of size ``kappa`` against a gradient that was scaled."""
    return torch.add(logits_GM, gradient_GM, alpha=-kappa)


def scores_of_logits(logits_GM: Tensor) -> Tensor:
    """Return scores in (0, 1] with the order of the logits, whose logarithm they are but for a constant of the layer.

    Logits that trail the largest of the layer by more than 87, beyond float32, become equal.
    """
    return (logits_GM - logits_GM.max()).clamp_(min=math.log(torch.finfo(torch.float32).tiny)).exp_()


def step_sizes(largest: float, *, count: int) -> tuple[float, ...]:
    """Return 0, which is no step, and ``count`` step sizes in ascending order, each half of the next one."""
    return (0.0, *(largest / 2**halvings for halvings in reversed(range(count))))


def split_minibatches(minibatches: int, *, gradient: int, search: int) -> tuple[int, int]:
    """Return how many of the first minibatches the gradient reads, and how many of the last ones the line search.

    The search gets a quarter of them, at most ``search``, at least one, and the gradient at most ``gradient`` of the
    others: on what the gradient has read a step looks better than it is. A single minibatch serves both.
    """
    searched = min(search, max(1, minibatches // 4))
    return max(1, min(gradient, minibatches - searched)), searched


def least(losses: Sequence[float]) -> int:
    """Return the place of the least loss, the first of equal ones; a loss that is not finite is above all others."""
    return min(range(len(losses)), key=lambda place: losses[place] if math.isfinite(losses[place]) else math.inf)

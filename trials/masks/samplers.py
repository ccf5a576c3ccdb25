"""Samplers of N-hot masks from logits: pure functions of logits and noise, and their names.

`multinomial` and `gumbel_topk` draw from the same distribution, Plackett-Luce sets, by different arithmetic;
`gaussian_topk` (MaskPro, appendix A.14) is another distribution, for which the Plackett-Luce score is biased.

Exact means exact in both tails. At a margin of C between kept and dropped logits a group deviates with
probability about e^-C, and uniforms on the 24-bit grid of float32 are wrong by percents at C = 14 and never
deviate at C = 20. Noise here is float64 from numpy's generators, with uniforms on a grid of 2^-53;
`Tensor.exponential_` is avoided, as its precision depends on the build.

Legend: G groups, M group size, N kept, K numbers a group; a lower-case g marks a chunk of the groups.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.masks.layout import chunks, columns, write_columns
from nmlab.trials.masks.topn import keep_largest


@dataclass(frozen=True)
class Sampler:
    """A distribution over N-hot masks: the noise it needs, and the function from noise to mask.

    ``noise`` is the name of the method of `numpy.random.Generator` that draws it, ``width(n, m)`` how many numbers a
    group takes, and ``mask(logits_GM, noise_GK, n)`` the [G, M] bool mask they give. ``plackett_luce`` says whether
    masks follow the law that the score belongs to.
    """

    noise: str
    width: Callable[[int, int], int]
    mask: Callable[[Tensor, Tensor, int], Tensor]
    plackett_luce: bool = True

    def fill(self, noise_GK: Tensor, generator: np.random.Generator) -> None:
        """Draw noise into a contiguous float64 CPU tensor, row after row: cutting it into chunks changes nothing."""
        getattr(generator, self.noise)(out=noise_GK.numpy())

    def __call__(self, logits_GM: Tensor, n: int, *, generator: np.random.Generator) -> Tensor:
        """Draw one mask for every group: [G, M] bool with exactly ``n`` kept in every row.

        Raises ``ValueError`` if the logits are not a finite matrix, or not 1 <= n <= M.
        """
        _check(logits_GM, n=n)
        mask_GM = torch.empty(logits_GM.shape, dtype=torch.bool, device=logits_GM.device)
        for logits_gM, mask_gM in chunks(logits_GM.detach(), mask_GM):
            noise_gK = torch.empty(len(logits_gM), self.width(n, logits_gM.shape[1]), dtype=torch.float64)
            self.fill(noise_gK, generator)
            mask_gM.copy_(self.mask(logits_gM, noise_gK.to(logits_GM.device), n))
        return mask_GM


def race_mask(logits_GM: Tensor, exponential_GM: Tensor, n: int) -> Tensor:
    """The first N arrivals when item k arrives at exponential_k / e^logit_k: an exact Plackett-Luce set.

    Compared in logs, so no finite gap between logits overflows, and in the wider dtype of the two arguments.
    Equal times (which include two zeros) are resolved in favour of the lower index.

    Args:
        logits_GM: [G, M] finite.
        exponential_GM: [G, M] independent standard exponentials, zero allowed. The caller answers for their
            precision near zero: it is the precision of the rare deviations.
        n: kept a group.

    Returns:
        [G, M] bool.
    """
    return keep_largest(logits_GM - exponential_GM.log(), n)


def race_order(logits_GM: Tensor, exponential_GM: Tensor, n: int) -> Tensor:
    """Positions [G, N] of the first N arrivals of `race_mask`, earliest first: what `ordered_score` takes."""
    arrival_GM = exponential_GM.log() - logits_GM
    return arrival_GM.sort(dim=1, stable=True).indices[:, :n]


def gaussian_mask(logits_GM: Tensor, normal_GM: Tensor, n: int) -> Tensor:
    """The N largest of logits plus standard normal noise; not Plackett-Luce.

    Args:
        logits_GM: [G, M] finite.
        normal_GM: [G, M] independent standard normals.
        n: kept a group.

    Returns:
        [G, M] bool.
    """
    return keep_largest(logits_GM + normal_GM, n)


def successive_mask(logits_GM: Tensor, uniform_GN: Tensor) -> Tensor:
    """N draws without replacement, each by inverting the cumulative weights of what is left: exact.

    Args:
        logits_GM: [G, M] finite.
        uniform_GN: [G, N] independent uniforms in [0, 1), float64 for the precision of rare deviations.

    Returns:
        [G, M] bool.
    """
    mask_GM = torch.empty(logits_GM.shape, dtype=torch.bool, device=logits_GM.device)
    write_columns(_draw_successively(columns(logits_GM), columns(uniform_GN)), out_GM=mask_GM)
    return mask_GM


# Drawing N of M without replacement (`multinomial`) and the N largest Gumbel-perturbed logits (`gumbel_topk`, drawn as
# a race of exponential clocks) are one distribution by two computations. The Gaussian one is another.
SAMPLERS = {
    "multinomial": Sampler("random", lambda n, m: n, lambda logits, noise, n: successive_mask(logits, noise)),
    "gumbel_topk": Sampler("standard_exponential", lambda n, m: m, race_mask),
    "gaussian_topk": Sampler("standard_normal", lambda n, m: m, gaussian_mask, plackett_luce=False),
}


def find_sampler(name: str) -> Sampler:
    """Look a sampler up by name; raises ``ValueError`` naming the nearest known one."""
    if name not in SAMPLERS:
        raise ValueError(unknown_name(name, kind="sampler", known=SAMPLERS))
    return SAMPLERS[name]


def _check(logits_GM: Tensor, *, n: int) -> None:
    shape = tuple(logits_GM.shape)
    if len(shape) != 2 or not 1 <= n <= shape[1]:
        raise ValueError(f"sampler: logits of shape {shape} and n={n}, expected [G, M] and 1 <= n <= M")
    # A sum shows every NaN and infinity at a tenth of the price of a test by element.
    if not math.isfinite(float(logits_GM.sum(dtype=torch.float64))):
        raise ValueError(f"sampler: logits of shape {shape} hold NaN or infinity, expected finite numbers")


def _draw_successively(logits_Mg: Tensor, uniform_Ng: Tensor) -> Tensor:
    left_Mg = logits_Mg.double()
    drawn_Mg = torch.zeros_like(logits_Mg, dtype=torch.bool)
    for uniform_g in uniform_Ng:
        # Scaled afresh by the largest that is left: a leader already drawn must not underflow the others.
        cumulative_Mg = (left_Mg - left_Mg.amax(0)).exp_().cumsum(0)
        # u < 1 keeps the threshold below the total even after rounding: the position exists and has weight.
        position_1g = (cumulative_Mg <= uniform_g * cumulative_Mg[-1]).sum(0, keepdim=True)
        drawn_Mg.scatter_(0, position_1g, True)
        left_Mg.scatter_(0, position_1g, -torch.inf)
    return drawn_Mg

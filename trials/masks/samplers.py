"""Samplers of N-hot masks from logits, and the pure functions behind them that take their noise from outside.

`multinomial` and `gumbel_topk` draw from the same distribution, Plackett-Luce sets, by different arithmetic;
`gaussian_topk` (MaskPro, appendix A.14) is another distribution, for which the Plackett-Luce score is biased.

Exact means exact in both tails. At a margin of C between kept and dropped logits a group deviates with
probability about e^-C, and uniforms on the 24-bit grid of float32 are wrong by percents at C = 14 and never
deviate at C = 20. Uniforms here are float64 on a grid of 2^-53 and enter through log1p, so small and large
exponential times are both resolved; `Tensor.exponential_` is avoided, as its precision depends on the build.

Legend: G groups, M group size, N kept; a lower-case g marks a chunk of the groups. Noise is drawn chunk by
chunk, see `layout.chunks`.
"""

import difflib
import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from nmlab.trials.masks.layout import chunks, columns, write_columns
from nmlab.trials.masks.ranking import keep_largest, keep_largest_columns


class Sampler(Protocol):
    """Draws one mask for every group."""

    def __call__(self, logits_GM: Tensor, n: int, *, generator: torch.Generator) -> Tensor:
        """Return [G, M] bool with exactly ``n`` kept in every row.

        Args:
            logits_GM: [G, M] finite.
            n: kept a group, 1 <= n <= M.
            generator: on the device of the logits.

        Raises:
            ValueError: if the logits are not a finite matrix, or ``n`` does not fit it.
        """
        ...


def multinomial(logits_GM: Tensor, n: int, *, generator: torch.Generator) -> Tensor:
    """N draws without replacement from softmax(logits), one after the other. Exact; see `Sampler`.

    `successive_mask` with N uniforms a group; from N = 4 on `gumbel_topk` is the faster of the two.
    """
    return _in_chunks(_draw_with_uniforms, logits_GM, n, generator=generator)


def gumbel_topk(logits_GM: Tensor, n: int, *, generator: torch.Generator) -> Tensor:
    """Top-N of logits plus independent Gumbel noise. Exact; see `Sampler`."""
    return _in_chunks(_perturb_with_gumbel, logits_GM, n, generator=generator)


def gaussian_topk(logits_GM: Tensor, n: int, *, generator: torch.Generator) -> Tensor:
    """Top-N of logits plus independent standard normal noise. Not Plackett-Luce; see `Sampler`."""
    return _in_chunks(_perturb_with_gaussian, logits_GM, n, generator=generator)


SAMPLERS: dict[str, Sampler] = {
    "multinomial": multinomial,
    "gumbel_topk": gumbel_topk,
    "gaussian_topk": gaussian_topk,
}


def find_sampler(name: str) -> Sampler:
    """Look a sampler up by name.

    Raises:
        ValueError: naming the nearest known sampler.
    """
    if name in SAMPLERS:
        return SAMPLERS[name]
    near = difflib.get_close_matches(name, SAMPLERS, n=1, cutoff=0.0)
    raise ValueError(f"sampler {name!r}: expected one of {', '.join(SAMPLERS)}; nearest is {near[0]!r}")


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


def standard_exponential(shape: Sequence[int], *, generator: torch.Generator) -> Tensor:
    """Float64 standard exponentials -log(1 - u) on the device of the generator, in steps of 2^-53 near zero."""
    uniform = torch.rand(tuple(shape), generator=generator, dtype=torch.float64, device=generator.device)
    return uniform.neg_().log1p_().neg_()


class _ChunkSampler(Protocol):
    def __call__(self, logits_Mg: Tensor, n: int, *, generator: torch.Generator) -> Tensor: ...


def _in_chunks(sample: _ChunkSampler, logits_GM: Tensor, n: int, *, generator: torch.Generator) -> Tensor:
    _check(logits_GM, n=n)
    mask_GM = torch.empty(logits_GM.shape, dtype=torch.bool, device=logits_GM.device)
    for logits_gM, mask_gM in chunks(logits_GM.detach(), mask_GM):
        write_columns(sample(columns(logits_gM), n, generator=generator), out_GM=mask_gM)
    return mask_GM


def _check(logits_GM: Tensor, *, n: int) -> None:
    shape = tuple(logits_GM.shape)
    if len(shape) != 2 or not 1 <= n <= shape[1]:
        raise ValueError(f"sampler: logits of shape {shape} and n={n}, expected [G, M] and 1 <= n <= M")
    # A sum shows every NaN and infinity at a tenth of the price of a test by element.
    if not math.isfinite(float(logits_GM.sum(dtype=torch.float64))):
        raise ValueError(f"sampler: logits of shape {shape} hold NaN or infinity, expected finite numbers")


def _draw_with_uniforms(logits_Mg: Tensor, n: int, *, generator: torch.Generator) -> Tensor:
    shape = (n, logits_Mg.shape[1])
    uniform_Ng = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
    return _draw_successively(logits_Mg, uniform_Ng)


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


def _perturb_with_gumbel(logits_Mg: Tensor, n: int, *, generator: torch.Generator) -> Tensor:
    gumbel_Mg = standard_exponential(logits_Mg.shape, generator=generator).log_().neg_()
    return keep_largest_columns(gumbel_Mg.add_(logits_Mg), n)


def _perturb_with_gaussian(logits_Mg: Tensor, n: int, *, generator: torch.Generator) -> Tensor:
    noise_Mg = torch.randn(logits_Mg.shape, generator=generator, device=generator.device)
    return keep_largest_columns(noise_Mg.add_(logits_Mg), n)

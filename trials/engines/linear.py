"""The engine that touches every group once a step: an exponential race to sample, the exact score to move.

Legend: G groups, g groups of one piece, M group size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.masks.randomness import keyed_generator
from nmlab.trials.masks.ranking import keep_largest
from nmlab.trials.masks.samplers import race_mask
from nmlab.trials.masks.topn import topn
from nmlab.trials.names import unknown_name

# Gradient of log p(mask) with respect to the logits: (logits [g, M], mask [g, M]) -> [g, M].
Score = Callable[[Tensor, Tensor], Tensor]

# Groups worked on at a time: noise and gradients never need more memory than this, whatever the model's size.
_PIECE = 2**18


def gaussian_mask(logits_gM: Tensor, normal_gM: Tensor, n: int) -> Tensor:
    """Return the mask of the N largest logits plus standard normal noise, boolean [g, M]; not Plackett-Luce."""
    return keep_largest(logits_gM + normal_gM, n)


@dataclass(frozen=True)
class Sampler:
    """A distribution over N:M masks as numpy's name of the noise, and what is made of it."""

    noise: str
    mask: Callable[[Tensor, Tensor, int], Tensor]

    def fill(self, noise_gM: Tensor, generator: np.random.Generator) -> None:
        """Draw noise into a contiguous float64 CPU tensor."""
        getattr(generator, self.noise)(out=noise_gM.numpy())


# Drawing N of M without replacement (`multinomial`) and the N largest Gumbel-perturbed logits (`gumbel_topk`) are
# one distribution and, drawn as a race of exponential clocks, one computation. The Gaussian one is another.
SAMPLERS = {
    "multinomial": Sampler("standard_exponential", race_mask),
    "gumbel_topk": Sampler("standard_exponential", race_mask),
    "gaussian_topk": Sampler("standard_normal", gaussian_mask),
}


class LinearEngine:
    """Logits of all groups [G, M] in float32, with masks sampled by (seed, step, layer, mask index).

    Raises ``ValueError`` for an unknown sampler and for logits that are not finite.
    """

    def __init__(
        self, layout: GroupLayout, *, logits_GM: Tensor, seed: int, score: Score, sampler: str = "multinomial"
    ) -> None:
        if sampler not in SAMPLERS:
            raise ValueError(unknown_name(sampler, kind="sampler", known=SAMPLERS))
        if not torch.isfinite(logits_GM).all():
            raise ValueError("logits hold NaN or infinite values")
        self.layout = layout
        self.logits_GM = logits_GM.float().contiguous()
        self._seed = seed
        self._sampler = SAMPLERS[sampler]
        self._score = score
        self._pieces = layout.pieces(_PIECE)
        # float64 draws: a float32 grid is too coarse where a rarely kept weight must win its race.
        longest = max(rows.stop - rows.start for rows, _ in self._pieces)
        self._noise_gM = torch.empty(longest, layout.pattern.m, dtype=torch.float64)

    def sample(self, *, step: int, index: int = 0) -> Tensor:
        """Draw the mask number ``index`` of ``step``, boolean [G, M] with exactly N true in every row."""
        mask_GM = torch.empty_like(self.logits_GM, dtype=torch.bool)
        generators: dict[str, np.random.Generator] = {}
        for rows, layers in self._pieces:
            for name, within in layers:
                if name not in generators:
                    generators[name] = keyed_generator(self._seed, step, name, index)
                self._sampler.fill(self._noise_gM[within], generators[name])
            noise_gM = self._noise_gM[: rows.stop - rows.start].to(self.logits_GM.device)
            mask_GM[rows] = self._sampler.mask(self.logits_GM[rows], noise_gM, self.layout.pattern.n)
        return mask_GM

    def descend(self, masks_GM: Sequence[Tensor], *, weights: Sequence[float], rate: float) -> None:
        """Move the logits by -rate sum_k weights_k d log p(mask_k) / d logits, every score at the same logits."""
        for rows, _ in self._pieces:
            logits_gM = self.logits_GM[rows]
            gradient_gM = self._score(logits_gM, masks_GM[0][rows]).mul_(weights[0])
            for mask_GM, weight in zip(masks_GM[1:], weights[1:], strict=True):
                gradient_gM.add_(self._score(logits_gM, mask_GM[rows]), alpha=weight)
            logits_gM.sub_(gradient_gM, alpha=rate)

    def mode(self) -> Tensor:
        """Return the most probable mask, the N largest logits of every group, boolean [G, M]."""
        return topn(self.logits_GM, self.layout.pattern)

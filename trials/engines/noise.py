"""Noise for all groups of a model, keyed by layer: the same numbers whoever draws them, on whatever shard.

Legend: G groups of all layers, W numbers a group (its M entries, or its K candidates).
"""

import numpy as np
import torch
from torch import Tensor

from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.masks.randomness import keyed_generator

# Below the smallest exponential that the generator gives except 0, whose logarithm would not be finite.
_SMALLEST = 1e-300


def normal(layout: GroupLayout, *, width: int, key: tuple[int | str, ...]) -> Tensor:
    """Return standard normal numbers, float32 [G, W] on the CPU; a layer's are keyed by ``key`` and its name."""
    return _draw(layout, "standard_normal", width=width, key=key).float()


def gumbel(layout: GroupLayout, *, width: int, key: tuple[int | str, ...]) -> Tensor:
    """Return standard Gumbel numbers -log(exponential), float32 [G, W] on the CPU, keyed like ``normal``."""
    return _draw(layout, "standard_exponential", width=width, key=key).clamp_(min=_SMALLEST).log_().neg_().float()


def _draw(layout: GroupLayout, distribution: str, *, width: int, key: tuple[int | str, ...]) -> Tensor:
    drawn_GW = np.empty((layout.groups, width))
    start = 0
    for layer in layout.layers:
        stop = start + layout.pattern.groups(layer.numel)
        getattr(keyed_generator(*key, layer.name), distribution)(out=drawn_GW[start:stop])
        start = stop
    return torch.from_numpy(drawn_GW)

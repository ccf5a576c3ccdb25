"""Noise for all groups of a model, keyed by layer: the same numbers in every process and pipeline stage.

Legend: G groups of all layers, W numbers a group (its M entries, or its K candidates).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.masks.randomness import keyed_generator

# Below the smallest exponential that the generator gives except 0, whose logarithm would not be finite.
_SMALLEST = 1e-300


# Numbers drawn at a time in float64: few enough to stay in the cache, and no float64 copy of a model is needed.
_PIECE = 2**16


def normal(layout: GroupLayout, *, width: int, key: tuple[int | str, ...]) -> Tensor:
    """Return standard normal numbers, float32 [G, W] on the CPU; a layer's are keyed by ``key`` and its name."""
    return _draw(layout, "standard_normal", lambda drawn: drawn, width=width, key=key)


def gumbel(layout: GroupLayout, *, width: int, key: tuple[int | str, ...]) -> Tensor:
    """Return standard Gumbel numbers -log(exponential), float32 [G, W] on the CPU, keyed like ``normal``."""
    return _draw(layout, "standard_exponential", _gumbel_of, width=width, key=key)


def logistic(layout: GroupLayout, *, width: int, key: tuple[int | str, ...]) -> Tensor:
    """Return standard logistic numbers, float32 [G, W] on the CPU, keyed like ``normal``; both tails are exact.

    The logistic of u = e^-exponential is log(u / (1 - u)), so that a chance of p is taken where it is below p's log
    odds: without a grid of uniforms, on which no small p is right.
    """
    return _draw(layout, "standard_exponential", _logistic_of, width=width, key=key)


def _gumbel_of(exponential: Tensor) -> Tensor:
    return exponential.clamp_(min=_SMALLEST).log_().neg_()


def _logistic_of(exponential: Tensor) -> Tensor:
    # log(e^x - 1) as x + log(1 - e^-x), which does not overflow.
    smallest = exponential.clamp_(min=_SMALLEST)
    return smallest.add(smallest.neg().expm1_().neg_().log_()).neg_()


def _draw(
    layout: GroupLayout,
    distribution: str,
    transform: Callable[[Tensor], Tensor],
    *,
    width: int,
    key: tuple[int | str, ...],
) -> Tensor:
    drawn_GW = torch.empty(layout.groups, width)
    buffer = torch.empty(_PIECE, dtype=torch.float64)
    start = 0
    for layer in layout.layers:
        generator = keyed_generator(*key, layer.name)
        stop = start + layout.pattern.groups(layer.numel)
        for piece in torch.split(drawn_GW[start:stop].view(-1), _PIECE):
            fresh = buffer[: len(piece)]
            getattr(generator, distribution)(out=fresh.numpy())
            piece.copy_(transform(fresh))
        start = stop
    return drawn_GW

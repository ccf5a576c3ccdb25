"""Checks of the inputs of engines; errors name the tensor and, where there is one, the layer.

Legend: G groups of all layers, g some of them, M group size.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nmlab.trials.engines.engine import Draw
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.masks.topn import check_mask


def check_start(initial_GM: Tensor, magnitude: float, *, layout: GroupLayout) -> None:
    """Raise ``ValueError`` unless the initial mask keeps N of every M of every layer, and C is finite and >= 0."""
    _check_shape("initial mask", initial_GM, layout=layout)
    if not 0 <= magnitude < math.inf:
        raise ValueError(f"logit magnitude {magnitude}: expected a finite number that is not negative")
    for name, mask in layout.split(initial_GM).items():
        check_mask(mask, layout.pattern, name=f"initial mask of {name}")


def check_logits(logits_GM: Tensor, *, layout: GroupLayout) -> None:
    """Raise ``ValueError`` unless the logits are [G, M] and finite, naming the layer and the place."""
    _check_shape("logits", logits_GM, layout=layout)
    if not logits_GM.is_floating_point():
        raise ValueError(f"logits: {logits_GM.dtype}, expected a floating-point dtype")
    for name, logits in layout.split(logits_GM).items():
        wrong = ~torch.isfinite(logits)
        if bool(wrong.any()):
            row, column = wrong.nonzero()[0].tolist()
            raise ValueError(
                f"logits of {name}: {logits[row, column].item()} at row {row}, column {column}; "
                f"expected finite numbers ({int(wrong.sum())} are NaN or infinite)"
            )


def check_descent(
    draws: Sequence[Draw],
    weights: Sequence[float],
    rate: float,
    *,
    layout: GroupLayout,
    device: torch.device,
    known: Draw | None = None,
) -> None:
    """Raise ``ValueError`` unless every draw is a sparse mask of this layout, with one finite weight each.

    ``known`` is a draw that the engine made itself and that is not checked again.
    """
    if len(draws) != len(weights) or not draws:
        raise ValueError(f"descend: {len(draws)} draws and {len(weights)} weights, expected one weight for each draw")
    if not all(math.isfinite(rate * weight) for weight in weights):
        raise ValueError(f"descend: weights {list(weights)} at the rate {rate}, expected finite numbers")
    for number, draw in enumerate(draws):
        if draw is not known:
            _check_draw(f"draw {number}", draw, layout=layout, device=device)


def _check_draw(name: str, draw: Draw, *, layout: GroupLayout, device: torch.device) -> None:
    groups_g, masks_gM = draw.groups_g, draw.masks_gM
    for part, tensor in (("groups", groups_g), ("masks", masks_gM)):
        if tensor.device != device:
            raise ValueError(f"{part} of {name}: on {tensor.device}, expected {device}, where the logits are")
    expected = (groups_g.numel(), layout.pattern.m)
    if groups_g.ndim != 1 or groups_g.dtype != torch.int64 or tuple(masks_gM.shape) != expected:
        raise ValueError(
            f"{name}: groups {groups_g.dtype} {tuple(groups_g.shape)} and masks {tuple(masks_gM.shape)}, "
            f"expected torch.int64 [g] and [g, {layout.pattern.m}]"
        )
    check_mask(masks_gM, layout.pattern, name=f"masks of {name}")
    if groups_g.numel() and not (
        bool((groups_g.diff() > 0).all()) and int(groups_g[0]) >= 0 and int(groups_g[-1]) < layout.groups
    ):
        raise ValueError(f"groups of {name}: expected strictly ascending numbers from 0 to {layout.groups - 1}")


def _check_shape(name: str, tensor_GM: Tensor, *, layout: GroupLayout) -> None:
    expected = (layout.groups, layout.pattern.m)
    if tuple(tensor_GM.shape) != expected:
        raise ValueError(
            f"{name}: shape {tuple(tensor_GM.shape)}, expected {expected} for {len(layout.layers)} layers "
            f"at pattern {layout.pattern}"
        )

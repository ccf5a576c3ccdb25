"""Top-N selection along the last axis, and the check that a mask keeps exactly N of every M."""

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.ranking import keep_largest


def topn(scores: Tensor, pattern: Pattern) -> Tensor:
    """Keep the N highest scores of every M consecutive entries of the last axis.

    Equal scores are resolved in favour of the lower index, on every device.

    Args:
        scores: [..., K] real numbers, K a multiple of M. Infinite scores are allowed.

    Returns:
        Bool mask of the same shape, true where the weight is kept.

    Raises:
        ValueError: if K is not a multiple of M, or a score is NaN.
    """
    _check_last_axis("scores", scores, pattern=pattern)
    if scores.is_floating_point() and bool(scores.isnan().any()):
        first = scores.reshape(-1).isnan().nonzero()[0].item()
        raise ValueError(f"scores: NaN at flat index {first} of shape {tuple(scores.shape)}")
    return keep_largest(scores.detach().reshape(-1, pattern.m), pattern.n).view(scores.shape)


def check_mask(mask: Tensor, pattern: Pattern, *, name: str = "mask") -> None:
    """Refuse a mask that does not keep exactly N of every M along its last axis.

    The Plackett-Luce functions do not check their masks; call this once for a mask from outside.

    Args:
        mask: [..., K] bool.
        name: of the tensor, for the message.

    Raises:
        ValueError: naming the tensor and, for a wrong group, its row (all leading axes flattened), its
            position in the row and the number it keeps.
    """
    if mask.dtype != torch.bool:
        raise ValueError(f"{name}: dtype {mask.dtype}, expected torch.bool")
    _check_last_axis(name, mask, pattern=pattern)
    wrong_G = _kept_per_group(mask, m=pattern.m) != pattern.n
    if not bool(wrong_G.any()):
        return
    group = int(wrong_G.nonzero()[0].item())
    kept = int(mask.reshape(-1, pattern.m)[group].sum().item())
    row, position = divmod(group, mask.shape[-1] // pattern.m)
    raise ValueError(
        f"{name}: row {row}, group {position} keeps {kept} of {pattern.m}, expected {pattern.n} "
        f"(pattern {pattern}; {int(wrong_G.sum().item())} of {wrong_G.numel()} groups are wrong)"
    )


def _kept_per_group(mask: Tensor, *, m: int) -> Tensor:
    """[G] uint8. Adding M strided columns is several times faster than a reduction over a short axis."""
    bytes_GM = mask.reshape(-1, m).view(torch.uint8)
    kept_G = bytes_GM[:, 0].clone()
    for column_G in bytes_GM.unbind(1)[1:]:
        kept_G += column_G
    return kept_G


def _check_last_axis(name: str, tensor: Tensor, *, pattern: Pattern) -> None:
    if tensor.ndim == 0 or tensor.shape[-1] % pattern.m:
        raise ValueError(
            f"{name}: shape {tuple(tensor.shape)}, expected a last axis that is a multiple of {pattern.m} "
            f"(pattern {pattern})"
        )

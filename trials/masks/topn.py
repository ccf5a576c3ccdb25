"""Top-N selection: the N largest of every M numbers, and the check that a mask keeps exactly N of every M.

Legend: G groups, M group size; a lower-case g marks a chunk of the groups.
"""

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.layout import chunks, columns, write_columns


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


def keep_largest(keys_GM: Tensor, n: int) -> Tensor:
    """Mark the ``n`` largest keys of each row.

    M(M-1)/2 comparisons a group in M-1 vectorised steps. Unlike with `torch.topk`, equal keys are resolved
    the same way on every device (the lower index is kept), and exactly ``n`` are marked whatever the ties.

    Args:
        keys_GM: [G, M] of any real dtype, without NaN (every comparison with NaN is false, so its row
            could end up with another count; callers refuse it). Infinities are ordinary keys.
        n: how many to keep, 0 <= n <= M.

    Returns:
        [G, M] bool, contiguous.
    """
    kept_GM = torch.empty(keys_GM.shape, dtype=torch.bool, device=keys_GM.device)
    for keys_gM, kept_gM in chunks(keys_GM, kept_GM):
        write_columns(keep_largest_columns(columns(keys_gM), n), out_GM=kept_gM)
    return kept_GM


def keep_largest_columns(keys_MG: Tensor, n: int) -> Tensor:
    """`keep_largest` for keys that already lie transposed; returns [M, G] bool."""
    return ranks_of_columns(keys_MG) < n


def ranks_of_columns(keys_MG: Tensor) -> Tensor:
    """Return the rank of every key in its column, [M, G] uint8: 0 for the largest, the lower index first where equal.

    In a column with NaN ranks may repeat.
    """
    m, groups = keys_MG.shape
    # Position k meets m-1-k later ones. Count a defeat against each, then take back the ones it won.
    defeats_M1 = torch.arange(m - 1, -1, -1, dtype=torch.uint8, device=keys_MG.device).unsqueeze(1)
    defeats_MG = defeats_M1.repeat(1, groups)
    for shift in range(1, m):
        earlier_wins = (keys_MG[: m - shift] >= keys_MG[shift:]).view(torch.uint8)
        defeats_MG[: m - shift].sub_(earlier_wins)
        defeats_MG[shift:].add_(earlier_wins)
    return defeats_MG


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

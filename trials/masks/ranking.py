"""Keep the N largest of every M numbers by comparing all pairs.

Legend: G groups, M group size; a lower-case g marks a chunk of the groups.
"""

import torch
from torch import Tensor

from nmlab.trials.masks.layout import chunks, columns, write_columns


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
    m, groups = keys_MG.shape
    # Position k meets m-1-k later ones. Count a defeat against each, then take back the ones it won.
    defeats_M1 = torch.arange(m - 1, -1, -1, dtype=torch.uint8, device=keys_MG.device).unsqueeze(1)
    defeats_MG = defeats_M1.repeat(1, groups)
    for shift in range(1, m):
        earlier_wins = (keys_MG[: m - shift] >= keys_MG[shift:]).view(torch.uint8)
        defeats_MG[: m - shift].sub_(earlier_wins)
        defeats_MG[shift:].add_(earlier_wins)
    return defeats_MG < n

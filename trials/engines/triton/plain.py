"""Moving logits by torch operations, for the patterns whose score has no closed form in the kernels (N > 2).

Legend: g some groups, M group size, N kept, K masks drawn.
"""

from collections.abc import Sequence

from torch import Tensor

from nmlab.trials.engines.triton.words import GroupWords
from nmlab.trials.masks.codes import decode, decode_columns, kept_positions
from nmlab.trials.masks.plackett_luce import score
from nmlab.trials.masks.plackett_luce.modal import LARGEST_N, modal_score

# Numbers of one table of 2^N subsets in float64: half a gigabyte.
_TABLE_NUMBERS = 2**26


def move_modal(words: GroupWords, *, scale: float) -> None:
    """Move all groups by -``scale`` times the score of their modal masks."""
    pattern = words.pattern
    size = _TABLE_NUMBERS >> min(pattern.n, LARGEST_N)
    for start in range(0, words.store.groups, size):
        rows = slice(start, min(start + size, words.store.groups))
        code_g, logits_Mg = words.modes(rows), words.store.read_columns(rows)
        if pattern.n <= LARGEST_N:
            positions_Ng = kept_positions(code_g, pattern)
            kept_Mg = decode_columns(code_g, pattern.m)
            gradient_Mg = modal_score(logits_Mg, kept_Mg, n=pattern.n, positions_Ng=positions_Ng)
        else:
            gradient_Mg = score(logits_Mg.t().contiguous(), decode(code_g, pattern.m), n=pattern.n).t()
        words.store.write_columns(rows, logits_Mg.sub_(gradient_Mg, alpha=scale))


def moved(words: GroupWords, groups_g: Tensor, codes_Kg: Tensor, *, scales: Sequence[float]) -> Tensor:
    """Return some groups moved by -sum_k scales[k] times the score of their k-th mask, [g, M] float64."""
    logits_gM = words.store.read(groups_g).double()
    moved_gM = logits_gM.clone()
    for code_g, scale in zip(codes_Kg, scales, strict=True):
        mask_gM = decode(code_g, words.pattern.m)
        moved_gM.sub_(score(logits_gM, mask_gM, n=words.pattern.n), alpha=scale)
    return moved_gM

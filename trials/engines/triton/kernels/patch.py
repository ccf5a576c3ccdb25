"""Masked weights, rewritten where the mask has changed and nowhere else.

Legend: R rows (groups), L lanes (positions within a group).
"""

import triton
import triton.language as tl

from nmlab.trials.engines.triton.kernels.rows import inside, kept, places


@triton.jit(do_not_specialize=["total"])
def patch(
    masked,
    dense,
    rows,
    row_layers,
    layers,
    codes,
    total,
    WEIGHT: tl.constexpr,
    M: tl.constexpr,
    L: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Write dense weight times mask into each row; ``masked`` and ``dense`` int64 hold the address of each layer."""
    at_R = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    live_R = at_R < total
    layer_R = tl.load(row_layers + at_R, mask=live_R, other=0)
    group_R = tl.load(rows + at_R, mask=live_R, other=0) - tl.load(layers + 3 * layer_R)
    kept_RL = kept(tl.load(codes + at_R, mask=live_R, other=0).to(tl.int32), M, L)
    place_RL = places(group_R, M, L)
    from_R = tl.load(dense + layer_R).to(tl.pointer_type(WEIGHT))
    to_R = tl.load(masked + layer_R).to(tl.pointer_type(WEIGHT))
    weight_RL = tl.load(from_R[:, None] + place_RL, mask=inside(live_R, M, L) & kept_RL, other=0.0)
    tl.store(to_R[:, None] + place_RL, weight_RL, mask=inside(live_R, M, L))

"""Gradient of the log-probability of a draw *order*: unbiased like the set score, and noisier.

Its mean over the orders of one set is the set score, so the set score is its Rao-Blackwellisation. It costs
O(N M) for any N:M, and on groups whose kept items are alike the order is pure noise.

Legend: G groups, M group size, N draws, O = N + 1.
"""

import torch
from torch import Tensor


@torch.no_grad()
def ordered_score(logits_GM: Tensor, order_GN: Tensor) -> Tensor:
    """Gradient by the logits of log prod_j w_{s_j} / R_j, with R_j the weight not drawn before draw j.

    Args:
        logits_GM: [G, M] finite.
        order_GN: [G, N] int64, the distinct positions in the order in which they were drawn.

    Returns:
        [G, M] in the dtype of the logits, computed in float64; rows sum to zero. With N = M it is not zero:
        the set is certain, its order is not.
    """
    drawn_GM = torch.zeros_like(logits_GM, dtype=torch.bool).scatter_(1, order_GN, True)
    wide_GM = logits_GM.double()
    drawn_GN = wide_GM.gather(1, order_GN)
    never_drawn_G1 = wide_GM.masked_fill(drawn_GM, -torch.inf).logsumexp(1, keepdim=True)
    # log R after and before each draw: sums from the end, so that nothing is subtracted.
    remaining_GO = torch.cat([never_drawn_G1, drawn_GN.flip(1)], dim=1).logcumsumexp(1).flip(1)
    after_GN, before_GN = remaining_GO[:, 1:], remaining_GO[:, :-1]
    waited_GN = (-before_GN).logcumsumexp(1)
    score_GM = -torch.exp(wide_GM + waited_GN[:, -1:])
    kept_GN = torch.exp(after_GN - before_GN)
    kept_GN[:, 1:] -= torch.exp(drawn_GN[:, 1:] + waited_GN[:, :-1])
    return score_GM.scatter_(1, order_GN, kept_GN).to(logits_GM.dtype)

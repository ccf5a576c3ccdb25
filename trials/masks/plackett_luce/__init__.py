"""The Plackett-Luce distribution over N-subsets of M items: N draws without replacement from softmax(logits).

A mask of one group is such a subset, and its probability sums over the N! orders in which its items may be
drawn (MaskPro, Eq. 16 and appendix B). The functions here are the log-probability and its gradient, the score
that the policy-gradient update multiplies with the reward.

Shapes: G groups, M group size, N kept. A logits tensor is [G, M] of finite floating-point numbers, a mask
[G, M] bool. **Arguments are trusted**, as these functions run at every training step: a row that does not
keep exactly N makes the result meaningless, so check a mask from outside once with
`nmlab.trials.masks.check_mask`. The samplers refuse logits that are not finite.
"""

from nmlab.trials.masks.plackett_luce.official import official_score
from nmlab.trials.masks.plackett_luce.ordered import ordered_score
from nmlab.trials.masks.plackett_luce.subsets import log_prob, score

__all__ = ["log_prob", "official_score", "ordered_score", "score"]

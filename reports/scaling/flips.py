"""How many groups a sampled mask changes: this number combines logit magnitude and model size.

MaskPro starts from logits C on the kept and 0 on the dropped weights of every group (paper, section 4). Drawing N of M
without replacement in proportion to e^logit keeps the initial mask with probability

    prod over j = 0 .. N-1 of (N-j) e^C / ((N-j) e^C + M-N),

so a group deviates with p(C) = 1 minus that, and a step is expected to change G p(C) of G groups.
"""

import math

from scipy import optimize

LARGEST_MAGNITUDE = 60.0


def deviation_probability(magnitude: float, *, n: int, m: int) -> float:
    """Return p(C), the probability that a group's sampled mask is not its initial mask; accurate at any size.

    Args:
        magnitude: C, the logit of kept weights above that of dropped ones.
        n: weights kept of a group.
        m: weights of a group.

    Raises:
        ValueError: no pattern with 0 < n < m.
    """
    if not 0 < n < m:
        raise ValueError(f"a pattern keeps some and drops some of its weights but got {n}:{m}")
    stays = -math.fsum(math.log1p((m - n) * math.exp(-magnitude) / (n - j)) for j in range(n))
    return -math.expm1(stays)


def expected_flips(magnitude: float, *, groups: float, n: int, m: int) -> float:
    """Return how many of ``groups`` groups a sampled mask changes on average."""
    return groups * deviation_probability(magnitude, n=n, m=m)


def magnitude_of(flips: float, *, groups: float, n: int, m: int) -> float:
    """Return the magnitude C at which ``flips`` groups are expected to change; 0 where even C = 0 gives fewer.

    Raises:
        ValueError: a number of flips that is not positive.
    """
    if not flips > 0:
        raise ValueError(f"expected flips per step must be positive but got {flips}")

    def excess(magnitude: float) -> float:
        return math.log(expected_flips(magnitude, groups=groups, n=n, m=m)) - math.log(flips)

    if excess(0.0) <= 0:
        return 0.0
    if excess(LARGEST_MAGNITUDE) >= 0:
        return LARGEST_MAGNITUDE
    return float(optimize.brentq(excess, 0.0, LARGEST_MAGNITUDE, xtol=1e-10))

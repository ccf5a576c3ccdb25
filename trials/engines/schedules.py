"""Schedules of a quantity over a run: pure functions of the step, so that a resumed run follows the same curve."""

import math


def geometric(start: float, end: float, share: float) -> float:
    """Return start (end / start)^share, and ``end`` from share 1 on; both ends are positive."""
    return float(start * (end / start) ** min(1.0, share))


def linear(start: float, end: float, share: float) -> float:
    """Return the point at ``share`` of the way from ``start`` to ``end``, and ``end`` from share 1 on."""
    return start + (end - start) * min(1.0, share)


def cosine_to_a_tenth(peak: float, step: int, *, steps: int) -> float:
    """Return a learning rate that falls from ``peak`` at step 0 to a tenth of it at ``steps``, along half a cosine."""
    return peak * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def warmup_then_linear(peak: float, step: int, *, steps: int, warmup: float) -> float:
    """Return a learning rate that rises from 0 over the first ``warmup`` share of the steps, then falls to 0."""
    rising = math.ceil(warmup * steps)
    if step < rising:
        return peak * step / rising
    return peak * (steps - step) / max(1, steps - rising)

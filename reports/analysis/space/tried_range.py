"""How far apart the tried values of a setting lie."""

from collections.abc import Sequence

from nmlab.reports.read.typed_text import Value

NARROW = 1.25
"""A factor between the tried values below which nothing seen says little about the setting."""
NARROW_RATE = 1.5
"""The same for a learning rate, which is searched over powers of ten."""


def factor_between(values: Sequence[Value]) -> float | None:
    """Return the largest value over the smallest; None for texts, a single value, zero and negative numbers.

    Of shares between 0 and 1, such as a decay, it is also that of what they leave of 1, whichever is larger: a decay of
    0.9 and one of 0.99 remember 10 and 100 steps.
    """
    numbers = [float(value) for value in values if not isinstance(value, str)]
    if len(numbers) < len(values) or len(set(numbers)) < 2 or min(numbers) <= 0:
        return None
    factor = max(numbers) / min(numbers)
    return max(factor, (1 - min(numbers)) / (1 - max(numbers))) if max(numbers) < 1 else factor


def is_narrow(name: str, *, values: Sequence[Value]) -> bool:
    """Return whether all tried values of a setting lie within a small factor."""
    factor = factor_between(values)
    return factor is not None and factor < (NARROW_RATE if name.endswith("learning_rate") else NARROW)

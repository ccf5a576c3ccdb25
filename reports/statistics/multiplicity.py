"""Corrections of p-values for several tests.

Sources: Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 1995, for tables of tests; Holm, "A
simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979, where the chance of
even one false statement is limited.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def adjusted(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return Benjamini-Hochberg adjusted p-values in the order given; a missing test stays missing and is not counted.

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    present = _checked(p_values)
    if not present:
        return tuple(p_values)
    found = iter(stats.false_discovery_control(present, method="bh").tolist())
    return tuple(None if p is None else float(next(found)) for p in p_values)


def holm(p_values: Sequence[float | None]) -> tuple[float, ...]:
    """Return Holm adjusted p-values in the order given; a missing test counts as one that found nothing.

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    _checked(p_values)
    values = np.array([1.0 if p is None else p for p in p_values], dtype=float)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * np.arange(len(values), 0, -1)
    result = np.empty(len(values))
    result[order] = np.minimum(1.0, np.maximum.accumulate(scaled)) if len(values) else scaled
    return tuple(float(p) for p in result)


def _checked(p_values: Sequence[float | None]) -> list[float]:
    present = [p for p in p_values if p is not None]
    bad = [p for p in present if not 0 <= p <= 1]
    if bad:
        raise ValueError(f"a p-value lies between 0 and 1 but got {bad[0]}")
    return present

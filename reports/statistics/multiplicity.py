"""Many tests in one table: p-values adjusted so that the share of false discoveries stays below the level.

Source: Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 1995.
"""

from collections.abc import Sequence

from scipy import stats


def adjusted(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Return Benjamini-Hochberg adjusted p-values in the order given; a missing test stays missing and counts not.

    Raises:
        ValueError: a p-value outside [0, 1].
    """
    present = [p for p in p_values if p is not None]
    bad = [p for p in present if not 0 <= p <= 1]
    if bad:
        raise ValueError(f"a p-value lies between 0 and 1 but got {bad[0]}")
    if not present:
        return tuple(p_values)
    found = iter(stats.false_discovery_control(present, method="bh").tolist())
    return tuple(None if p is None else float(next(found)) for p in p_values)

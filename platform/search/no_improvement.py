"""Whether a search still improves: the rule of ``search.stop.no_improvement``.

A configuration improves on those before it if its mean over the seeds is better than that of the reference by more than
the standard error of the difference of the two means. The reference is the last configuration that improved, so that
many small gains add up. With one seed, and for methods that draw nothing at random, there is no noise: any gain counts.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, variance


@dataclass(frozen=True)
class EndedConfiguration:
    """A configuration of a search that has ended on all of its seeds.

    Attributes:
        pattern: N:M; masks of different patterns do not compare.
        values: the objective of each seed, all finite; None if it was stopped early, diverged, ran out of memory or
            breaks a constraint, so that it cannot be the best.
    """

    pattern: str
    values: tuple[float, ...] | None


def without_improvement(ended: Iterable[EndedConfiguration], *, mode: str) -> int:
    """Return how many configurations have ended since the last one that improved, of any pattern.

    It is 0 as long as no configuration has values: a search that has no best yet has not stopped to improve.

    Args:
        ended: the configurations in the order in which they ended.
        mode: ``min`` or ``max``.
    """
    references: dict[str, tuple[float, ...]] = {}
    count = 0
    for item in ended:
        if item.values is not None and _improves(item.values, references.get(item.pattern), mode=mode):
            references[item.pattern], count = item.values, 0
        elif references:
            count += 1
    return count


def standard_error(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the standard error of the difference of two means; a single value adds nothing to it."""
    return math.sqrt(sum(variance(values) / len(values) for values in (first, second) if len(values) > 1))


def _improves(values: tuple[float, ...], reference: tuple[float, ...] | None, *, mode: str) -> bool:
    if reference is None:
        return True
    gain = fmean(reference) - fmean(values)
    return (gain if mode == "min" else -gain) > standard_error(values, reference)

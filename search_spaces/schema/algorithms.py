"""The search algorithms: what each does, how many objectives it takes, and which searches it refuses.

`nmlab.platform.search` has what draws the configurations of each: one file an algorithm. Both lists hold the same names
(a test compares them), so an algorithm is an entry here and a file there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

AlgorithmName = Literal["grid", "random", "qmc", "tpe", "gp", "nsga2"]


@dataclass(frozen=True)
class Algorithm:
    """A search algorithm.

    Attributes:
        summary: what it does, in one line.
        fewest: objectives that it needs.
        several: whether it takes more than one objective.
        learns: whether it chooses by outcomes, after first points that it draws without any.
        no_conditions: why it refuses `when` and several methods; "" if it takes them.
        no_warm_start: why it takes no outcomes of other launches; "" if it does.
    """

    summary: str
    fewest: int = 1
    several: bool = False
    learns: bool = False
    no_conditions: str = ""
    no_warm_start: str = ""


_LEARNS_NOTHING = "it does not choose by outcomes, so it learns nothing from other launches"

ALGORITHMS: Mapping[AlgorithmName, Algorithm] = {
    "grid": Algorithm("every point of a space whose values are listed", no_warm_start=_LEARNS_NOTHING),
    "random": Algorithm("independent draws", no_warm_start=_LEARNS_NOTHING),
    "qmc": Algorithm(
        "points of a scrambled Sobol sequence, which cover the space more evenly than independent draws",
        no_warm_start=_LEARNS_NOTHING,
    ),
    "tpe": Algorithm(
        "tree-structured Parzen estimator (Optuna; multivariate, grouped by condition); one objective or several",
        several=True,
        learns=True,
    ),
    "gp": Algorithm(
        "Gaussian process (Optuna); for few samples of numbers, without conditions; one objective or several",
        several=True,
        learns=True,
        no_conditions="a Gaussian process needs a value of every name in every configuration; tpe takes conditions",
    ),
    "nsga2": Algorithm(
        "genetic algorithm for several objectives (Optuna)",
        fewest=2,
        several=True,
        learns=True,
        no_warm_start="it breeds from generations of its own and ignores all other outcomes",
    ),
}


def algorithms_where(property_name: Literal["several", "learns"]) -> str:
    """Return the names of the algorithms with a property, as ``tpe, gp or nsga2``."""
    *first, last = (name for name, found in ALGORITHMS.items() if getattr(found, property_name))
    return f"{', '.join(first)} or {last}"


def summary_of(name: str) -> str:
    """Return what the algorithm of this name does, in one line."""
    return next(found.summary for known, found in ALGORITHMS.items() if known == name)

"""Stand-ins for an Optuna trial, to visit points of a space without Optuna: random ones, or all in turn."""

import math
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import DefineByRun, configuration_count

Configuration = dict[str, Any]


class RandomDraw:
    """Draws every value at random and keeps it in ``drawn``; with ``ends``, only the two ends of a range of numbers."""

    def __init__(self, seed: int, *, ends: bool = False) -> None:
        self._random = random.Random(seed)
        self._ends = ends
        self.drawn: Configuration = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._note(name, self._random.choice(choices))

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        if self._ends:
            value = self._random.choice((low, high))
        elif log:
            value = min(high, max(low, math.exp(self._random.uniform(math.log(low), math.log(high)))))
        else:
            value = self._random.uniform(low, high)
        return float(self._note(name, value))

    def suggest_int(self, name: str, low: int, high: int) -> int:
        value = self._random.choice((low, high)) if self._ends else self._random.randint(low, high)
        return int(self._note(name, value))

    def _note(self, name: str, value: Any) -> Any:
        self.drawn[name] = value
        return value


class _Counter:
    """Gives the k-th parameter the option that the k-th digit of a number names, and counts the options of each."""

    def __init__(self, digits: list[int]) -> None:
        self.digits = digits
        self.options: list[int] = []

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return choices[self._next(len(choices))]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return (low, high)[self._next(2)]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        return low + self._next(high - low + 1)

    def _next(self, options: int) -> int:
        self.options.append(options)
        if len(self.options) > len(self.digits):
            self.digits.append(0)
        return self.digits[len(self.options) - 1]


def points(study: Study) -> Iterator[Configuration]:
    """Yield every configuration of a space once, the last parameter fastest; a range of reals gives its two ends."""
    space = DefineByRun(study)
    digits: list[int] = []
    while True:
        walk = _Counter(digits)
        yield space(walk)
        while digits and digits[-1] + 1 == walk.options[len(digits) - 1]:
            digits.pop()
        if not digits:
            return
        digits[-1] += 1


def configurations_tried(study: Study) -> int:
    """Return how many configurations a launch tries: those it asks for, or all of a space that has fewer."""
    asked = configuration_count(study)
    if any(entry.kind in ("uniform", "loguniform") for entry in study.entries.values()):
        return asked
    return sum(1 for _ in islice(points(study), asked))

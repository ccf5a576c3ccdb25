"""The points of a search: all of a space, random draws from it, and the initial points, which are tried first."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import Configuration, DefineByRun, configuration_count
from nmlab.trials.contract.near_names import hint
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES as SAMPLES
from nmlab.trials.contract.values import Scalar
from nmlab.trials.methods import registry

DEFAULTS = "defaults"
Value = TypeVar("Value", bound=Scalar)


class RandomDraw:
    """Draws every value at random and keeps it in ``drawn``; with ``ends``, only the two ends of a range of numbers."""

    def __init__(self, seed: int, *, ends: bool = False) -> None:
        self._random = random.Random(seed)
        self._ends = ends
        self.drawn: Configuration = {}

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Value:
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

    def _note(self, name: str, value: Value) -> Value:
        self.drawn[name] = value
        return value


class _Counter:
    """Gives the k-th parameter the option that the k-th digit of a number names, and counts the options of each."""

    def __init__(self, digits: list[int]) -> None:
        self.digits = digits
        self.options: list[int] = []

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Value:
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


class Given:
    """A stand-in for an Optuna trial with given values; raises ``ValueError`` for a value outside of the space."""

    def __init__(self, values: Mapping[str, Scalar]) -> None:
        self._values = values
        self.asked: Configuration = {}

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Value:
        value: Value = self._take(name, self._value(name) in choices, expected=f"one of {', '.join(map(str, choices))}")
        return value

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self._take(name, _between(self._value(name), low, high), expected=f"{low:g} to {high:g}"))

    def suggest_int(self, name: str, low: int, high: int) -> int:
        value = self._value(name)
        fits = _between(value, low, high) and value == int(value)
        return int(self._take(name, fits, expected=f"a whole number from {low} to {high}"))

    def _value(self, name: str) -> Any:
        if name not in self._values:
            raise ValueError(f"lacks {name!r}; a point names everything that is searched")
        return self._values[name]

    def _take(self, name: str, fits: bool, *, expected: str) -> Any:
        if not fits:
            raise ValueError(f"{name} = {self._values[name]!r}, expected {expected}")
        self.asked[name] = self._values[name]
        return self._values[name]


def initial_points(study: Study) -> list[Configuration]:
    """Return the searched values of every point that a study names to be tried first, in its order.

    ``defaults`` stands for one point for each method of the study: its own default of every searched hyperparameter, at
    the first pattern and number of samples. Raises ``ValueError`` with one line for a point that is not in the space.
    """
    points: list[Configuration] = []
    for index, given in enumerate(study.search.initial_points):
        where = f"search.initial_points[{index}]"
        if given == DEFAULTS:
            points += [_point(study, _defaults(study, method), f"{where} ({method})") for method in study.methods]
        else:
            assert isinstance(given, Mapping)
            point = _point(study, given, where)
            for name in given:
                if name not in point:
                    raise ValueError(f"{where}: {name!r} is not searched there{_why_not(name, study)}")
            points.append(point)
    return points


def _why_not(name: str, study: Study) -> str:
    if name in study.entries:
        return "; its condition does not hold for the other values"
    return hint(name, tuple(study.entries))


def _point(study: Study, values: Mapping[str, Scalar], where: str) -> Configuration:
    draw = Given(values)
    try:
        DefineByRun(study)(draw)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return draw.asked


def _defaults(study: Study, method: str) -> Configuration:
    others = {"method": method, "pattern": study.patterns[0], SAMPLES: study.data.calibration.sizes[0]}
    return {**registry.get(method).configure({}).model_dump(), **others}


def _between(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high

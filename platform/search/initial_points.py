"""The points that a search tries before it chooses any: those a study names, and the methods' own defaults."""

from collections.abc import Mapping, Sequence
from typing import Any

from nmlab.platform.search.points import Configuration
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import DefineByRun
from nmlab.trials.contract.near_names import hint
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES as SAMPLES
from nmlab.trials.methods import registry

DEFAULTS = "defaults"


class Given:
    """A stand-in for an Optuna trial with given values; raises ``ValueError`` for a value outside of the space."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values
        self.asked: Configuration = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._take(name, self._value(name) in choices, expected=f"one of {', '.join(map(str, choices))}")

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
    for index, given in enumerate(study.search.points):
        where = f"search.points[{index}]"
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


def _point(study: Study, values: Mapping[str, Any], where: str) -> Configuration:
    draw = Given(values)
    try:
        DefineByRun(study)(draw)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return draw.asked


def _defaults(study: Study, method: str) -> Configuration:
    others = {"method": method, "pattern": study.patterns[0], SAMPLES: study.data.calibration.sizes[0]}
    return {**registry.get(method).configure({}).model_dump(), **others}


def _between(value: Any, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high

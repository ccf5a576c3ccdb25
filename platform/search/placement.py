"""Place a configuration in another space: the point there that gives the same trials, if there is one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from nmlab.platform.search.changed_space import full_values
from nmlab.platform.search.initial_points import Given, Value
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import Configuration, DefineByRun


@dataclass(frozen=True)
class Placement:
    """A configuration in a space: as the study has it, and its searched values with the distribution of each."""

    configuration: Configuration
    parameters: Mapping[str, Any]
    distributions: Mapping[str, BaseDistribution]


def placed(study: Study, values: Mapping[str, Any]) -> Placement | None:
    """Return where a configuration lies in the space of a study; None if no point of that space gives the same trials.

    Args:
        study: has the space.
        values: every value of the configuration, as `full_values` gives them.
    """
    walk = _Walk(values)
    try:
        configuration = DefineByRun(study)(walk)
    except ValueError:
        return None
    if full_values(study, configuration) != values:
        return None
    return Placement(configuration, walk.asked, walk.distributions)


class _Walk(Given):
    """Walks through a space along given values, and keeps the distribution of each."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Value:
        self.distributions[name] = CategoricalDistribution(choices)
        return super().suggest_categorical(name, choices)

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.distributions[name] = FloatDistribution(low, high, log=log)
        return super().suggest_float(name, low, high, log=log)

    def suggest_int(self, name: str, low: int, high: int) -> int:
        self.distributions[name] = IntDistribution(low, high)
        return super().suggest_int(name, low, high)

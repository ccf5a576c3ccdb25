"""The effect of each setting that a study varies on its result, with its interval, for each method.

Where every combination of values ran to the end with the same seeds, the seeds are blocks. Otherwise the means of the
configurations are regressed on all settings. If some were stopped early, all are compared by the searched metric at the
last step at which each of them was evaluated, so that what was stopped counts too.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from nmlab.reports.analysis.configurations import Configuration, groups_of, searched
from nmlab.reports.analysis.metrics import is_compared_by_ratio, is_counted
from nmlab.reports.analysis.settings import varying
from nmlab.reports.analysis.space.tried_range import is_narrow
from nmlab.reports.read.histories import Curves
from nmlab.reports.read.typed_text import Value
from nmlab.reports.statistics import LEVEL, holm
from nmlab.reports.statistics.factors import FactorEffect, Floats, block_effect, regressed_effects
from nmlab.reports.values import counted, wants_log

MOST_VALUES = 6  # of a number that is taken as categories
LOG_RATIO = 20.0
NO_DIFFERENCE = "no difference that this study could see"


class Basis(StrEnum):
    """The replicates that an effect is tested over."""

    SEEDS = "seeds"
    CONFIGURATIONS = "configurations"


@dataclass(frozen=True, slots=True)
class SettingTest:
    """The effect of one setting between two of its values.

    Attributes:
        lower: of numbers the smaller one, of texts the one with the lower result; ``upper`` is the other.
        effect: upper minus lower, on the log scale for perplexities; None where it could not be tested.
        p_adjusted: after Holm over the settings of the method.
        is_largest: whether there are other values, and these are the two farthest apart.
    """

    name: str
    lower: Value | None
    upper: Value | None
    effect: FactorEffect | None
    p_adjusted: float | None
    is_largest: bool = False

    @property
    def is_seen(self) -> bool:
        """Whether the test finds that the setting changes the result."""
        return self.p_adjusted is not None and self.p_adjusted < LEVEL


@dataclass(frozen=True, slots=True)
class SettingEffects:
    """The effects of the settings of one method in one group.

    Attributes:
        metric: what they are measured in; the searched metric where some configurations were stopped early.
        step: the step at which it was compared; None for final values.
        reason: why nothing could be tested; "" where it was.
    """

    method: str
    pattern: str
    metric: str
    tests: tuple[SettingTest, ...]
    basis: Basis
    items: tuple[Configuration, ...]
    step: int | None = None
    seeds: int = 0
    reason: str = ""

    def stated(self, test: SettingTest) -> FactorEffect | None:
        """Return an effect as tables state it: as a ratio where it was measured on the log scale."""
        found = test.effect
        if found is None or not is_compared_by_ratio(self.metric):
            return found
        ends = (found.difference, found.low, found.high, found.detectable)
        ratio, low, high, detectable = (math.exp(end) for end in ends)
        return replace(found, difference=ratio, low=low, high=high, detectable=detectable)

    def tried(self, name: str) -> list[Value]:
        """Return the different values of a setting that are compared: numbers by size, then texts."""
        return _in_order({item.settings[name] for item in self.items})

    def is_narrow(self, name: str) -> bool:
        """Return whether the values of a setting that are compared lie within a small factor."""
        return is_narrow(name, values=self.tried(name))

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs that the effects rest on."""
        return tuple(run_id for item in self.items for run_id in item.run_ids)


@dataclass(frozen=True, slots=True)
class _Values:
    """The values of configurations by seed, as they are compared, and where they were measured."""

    metric: str
    by_seed: Mapping[str, Mapping[int, float]]
    step: int | None


def setting_effects(configurations: Sequence[Configuration], *, progress: Curves) -> tuple[SettingEffects, ...]:
    """Return the effects of the settings of each searched method that varied any, group by group.

    Args:
        configurations: of one launch, best first.
        progress: the searched metric of each run by step.
    """
    found = []
    for members in groups_of(searched(configurations)).values():
        for method in dict.fromkeys(item.method for item in members):
            own = [item for item in members if item.method == method]
            names = [name for name in varying(own) if all(name in item.settings for item in own)]
            if len(own) > 1 and names and not is_counted(own[0].objective.reported):
                found.append(_effects(own, names, progress))
    return tuple(found)


def _effects(own: Sequence[Configuration], names: Sequence[str], progress: Curves) -> SettingEffects:
    known = _values(own, progress)
    items = tuple(item for item in own if known.by_seed.get(item.key))
    is_ratio = is_compared_by_ratio(known.metric)
    scaled = {
        item.key: {seed: math.log(value) if is_ratio else value for seed, value in known.by_seed[item.key].items()}
        for item in items
    }
    names = [name for name in names if len({item.settings[name] for item in items}) > 1]
    seeds = sorted({seed for values in scaled.values() for seed in values})
    result = SettingEffects(own[0].method, own[0].pattern, known.metric, (), Basis.SEEDS, items, known.step, len(seeds))
    if not names:
        return replace(result, reason="fewer than two values of any setting have a result")
    if _is_balanced(items, names) and all(sorted(values) == seeds for values in scaled.values()) and len(seeds) > 1:
        return replace(result, tests=_corrected([_over_seeds(name, items, scaled, seeds) for name in names]))
    tests = _over_configurations(names, items, np.array([_mean(scaled[item.key]) for item in items]))
    if tests is None:
        reason = f"{len(items)} configurations are too few to tell {counted(len(names), noun='setting')} apart"
        return replace(result, basis=Basis.CONFIGURATIONS, reason=reason)
    return replace(result, basis=Basis.CONFIGURATIONS, tests=_corrected(tests))


def _values(own: Sequence[Configuration], progress: Curves) -> _Values:
    """Return final values, or where a configuration was stopped early the values at the last step that all reached."""
    objective = own[0].objective
    if not any(item.pruned for item in own):
        return _Values(objective.reported, {item.key: _finite(item) for item in own if item.is_complete}, None)
    curves = {item.key: _curves(item, progress) for item in own}
    reached = [set.intersection(*map(set, seeds.values())) for seeds in curves.values() if seeds]
    common = set.intersection(*reached) if reached else set()
    if not common:
        return _Values(objective.metric, {}, None)
    step = max(common)
    values = {key: {seed: curve[step] for seed, curve in seeds.items()} for key, seeds in curves.items()}
    return _Values(objective.metric, values, step)


def _curves(item: Configuration, progress: Curves) -> dict[int, dict[int, float]]:
    """Return the finite values after the start of the runs that finished or were stopped early, by seed and step."""
    curves = {
        trial.paired_by: progress[trial.run_id].by_step
        for trial in item.trials
        if trial.run_id in progress and (trial.is_finished or trial.is_pruned)
    }
    return {
        seed: {step: value for step, value in curve.items() if step > 0 and math.isfinite(value)}
        for seed, curve in curves.items()
    }


def _finite(item: Configuration) -> dict[int, float]:
    values = {trial.paired_by: trial.metric(item.objective.reported) for trial in item.finished}
    return {seed: value for seed, value in values.items() if math.isfinite(value)}


def _is_balanced(items: Sequence[Configuration], names: Sequence[str]) -> bool:
    """Return whether every combination of a few values was tried, each once."""
    numbers = [name for name in names if not any(isinstance(item.settings[name], str) for item in items)]
    if any(len({item.settings[name] for item in items}) > MOST_VALUES for name in numbers):
        return False
    tried = [tuple(item.settings[name] for name in names) for item in items]
    whole = math.prod(len({item.settings[name] for item in items}) for name in names)
    return len(tried) == len(set(tried)) == whole


def _over_seeds(
    name: str, items: Sequence[Configuration], scaled: Mapping[str, Mapping[int, float]], seeds: Sequence[int]
) -> SettingTest:
    values = _in_order({item.settings[name] for item in items})
    own = [[item for item in items if item.settings[name] == value] for value in values]
    value_LS = np.array([[np.mean([scaled[item.key][seed] for item in at]) for seed in seeds] for at in own])
    effect = block_effect(value_LS)
    mean_L = value_LS.mean(axis=1)
    lower, upper = (effect.lower, effect.upper) if effect else (int(mean_L.argmin()), int(mean_L.argmax()))
    return _in_order_of_numbers(SettingTest(name, values[lower], values[upper], effect, None, len(values) > 2))


def _in_order_of_numbers(test: SettingTest) -> SettingTest:
    """Return the effect from the smaller number to the larger one; that of text from the lower result to the higher."""
    lower, upper = test.lower, test.upper
    if isinstance(lower, str) or isinstance(upper, str) or lower is None or upper is None or lower <= upper:
        return test
    effect = None if test.effect is None else test.effect.turned
    return replace(test, lower=upper, upper=lower, effect=effect)


def _over_configurations(
    names: Sequence[str], items: Sequence[Configuration], value_N: Floats
) -> list[SettingTest] | None:
    scales = [_scale([item.settings[name] for item in items]) for name in names]
    found = regressed_effects(value_N, settings=[scale for scale, _ in scales])
    if found is None:
        return None
    tests = []
    for name, effect, (scale, values) in zip(names, found, scales, strict=True):
        is_line = isinstance(scale, np.ndarray)
        tried = [item.settings[name] for item in items] if is_line else values
        lower, upper = tried[effect.lower], tried[effect.upper]
        tests.append(
            _in_order_of_numbers(SettingTest(name, lower, upper, effect, None, not is_line and len(values) > 2))
        )
    return tests


def _scale(values: Sequence[Value]) -> tuple[Sequence[int] | Floats, list[Value]]:
    """Return a setting as places of categories, or as numbers, on a log scale where they spread far."""
    different = _in_order(set(values))
    numbers = [float(value) for value in values if not isinstance(value, str)]
    if len(numbers) < len(values) or len(different) <= min(MOST_VALUES, len(values) // 2):
        return [different.index(value) for value in values], different
    number_N = np.array(numbers)
    return (np.log(number_N) if wants_log(numbers, ratio=LOG_RATIO) else number_N), different


def _in_order(values: set[Value]) -> list[Value]:
    """Return numbers by size, and text after them by its letters."""
    texts = sorted(value for value in values if isinstance(value, str))
    return [*sorted(value for value in values if not isinstance(value, str)), *texts]


def _corrected(tests: Sequence[SettingTest]) -> tuple[SettingTest, ...]:
    tested = [test for test in tests if test.effect is not None]
    found = iter(holm([test.effect.p_value for test in tested if test.effect is not None]))
    return tuple(test if test.effect is None else replace(test, p_adjusted=next(found)) for test in tests)


def _mean(values: Mapping[int, float]) -> float:
    return math.fsum(values.values()) / len(values)

"""The result by each setting: every configuration, what joins some of them, and the mean at each value."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nmlab.reports.analysis.configurations import GROUPED_BY, Configuration, baselines, comparable_group, searched
from nmlab.reports.analysis.settings import ATTRIBUTES, distinguishing, setting_of
from nmlab.reports.read.typed_text import Value
from nmlab.reports.statistics import MeanEstimate, mean_interval

MOST_VALUES = 6  # that a line joins where each has one configuration
MOST_LINES = 8  # of one label; more would hide the points
FEWEST = 2  # values of a line; methods that share a setting, and values that each shares with others
PARTS, FEWEST_IN_PART = 4, 4  # into which many values are divided for their means


@dataclass(frozen=True, slots=True)
class SettingPoint:
    """One configuration: its value of the setting, its mean over seeds, and its method and pattern where they vary."""

    value: Value
    mean: MeanEstimate
    label: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class SettingLine:
    """Means of complete configurations that differ in nothing but this setting, by its value, ascending."""

    label: str
    means: tuple[tuple[Value, float], ...]


@dataclass(frozen=True, slots=True)
class Marginal:
    """The mean over the complete configurations with one value of a setting, or with values from first to last."""

    label: str
    first: Value
    last: Value
    mean: MeanEstimate


@dataclass(frozen=True, slots=True)
class SettingEffect:
    """One setting: every configuration that has it, lines through related ones, and marginal means for the others."""

    name: str
    points: tuple[SettingPoint, ...]
    lines: tuple[SettingLine, ...]
    marginals: tuple[Marginal, ...] = ()


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The settings that varied, or the reason why there are none; ``without_value`` configurations have no result.

    ``has_rules`` is set where baselines are among the points, because they share values of a setting with others.
    """

    metric: str
    labels: tuple[str, ...]
    settings: tuple[SettingEffect, ...]
    without_value: int = 0
    has_rules: bool = False
    skipped: str = ""


def sensitivity_of(configurations: Sequence[Configuration]) -> Sensitivity:
    """Return the result by each setting that varied between searched configurations, or that methods share.

    Baselines are shown by the settings of which they share two or more values with another method, such as the number
    of samples.
    """
    metric = configurations[0].objective.metric
    tried = [item for item in searched(configurations) if item.selection is not None]
    rules = [item for item in baselines(configurations) if item.is_complete and item.selection and not item.is_dense]
    shown = {
        name: [item for item in tried if setting_of(item, name=name) is not None] for name in distinguishing(tried)
    }
    for name in dict.fromkeys(name for item in (*tried, *rules) for name in item.settings):
        methods = _sharing([*tried, *rules], name)
        if methods and not name.startswith(GROUPED_BY):
            shown[name] = [item for item in tried if name in item.settings]
            shown[name] += [item for item in rules if name in item.settings and item.method in methods]
    if not shown:
        return Sensitivity(metric, (), (), skipped="nothing varied between configurations with a result")
    items = list({item.key: item for own in shown.values() for item in own}.values())
    labels = _labels(items)
    return Sensitivity(
        metric,
        labels=tuple(dict.fromkeys(labels.values())),
        settings=tuple(_effect(name, own, labels) for name, own in shown.items()),
        without_value=len(searched(configurations)) - len(tried),
        has_rules=any(item.is_baseline for item in items),
    )


def _sharing(items: Sequence[Configuration], name: str) -> set[str]:
    """Return the methods that share two or more values of a setting with others.

    Random numbers that a search draws separately for each method are not shared.
    """
    values: dict[str, set[Value]] = {}
    for item in items:
        if item.is_complete and name in item.settings:
            values.setdefault(item.method, set()).add(item.settings[name])
    users = Counter(value for own in values.values() for value in own)
    found = {method for method, own in values.items() if sum(users[value] > 1 for value in own) >= FEWEST}
    return found if len(found) >= FEWEST else set()


def _labels(items: Sequence[Configuration]) -> dict[str, str]:
    """Return method and pattern of each configuration, as far as they vary between them; empty where neither does."""
    apart = [name for name in ATTRIBUTES if len({setting_of(item, name=name) for item in items}) > 1]
    return {item.key: " ".join(str(setting_of(item, name=name)) for name in apart) for item in items}


def _effect(name: str, items: Sequence[Configuration], labels: Mapping[str, str]) -> SettingEffect:
    points = []
    for item in items:
        value, mean = setting_of(item, name=name), item.selection
        assert value is not None
        assert mean is not None
        points.append(SettingPoint(value, mean, labels[item.key], item.key))
    lines: list[SettingLine] = []
    marginals: list[Marginal] = []
    for label in dict.fromkeys(labels[item.key] for item in items):
        own = [item for item in items if labels[item.key] == label and item.is_complete]
        found = _lines(name, own, label)
        lines += found
        if sum(len(line.means) for line in found) < len(own):
            marginals += _marginals(name, own, label)
    return SettingEffect(name, tuple(points), tuple(lines), tuple(marginals))


def _lines(name: str, items: Sequence[Configuration], label: str) -> list[SettingLine]:
    """Return lines through numbers of a setting, each over configurations that are the same in every other setting.

    Values of a random search, where each has one configuration, are joined if they are few. Text has no order to join.
    """
    alike: dict[object, dict[Value, float]] = {}
    for item in items:
        value, mean = setting_of(item, name=name), item.selection
        if mean is not None and value is not None and not isinstance(value, str):
            alike.setdefault(_others(item, name), {})[value] = mean.mean
    found = [own for own in alike.values() if len(own) >= FEWEST]
    values = {value for own in found for value in own}
    if len(found) > MOST_LINES or (len(values) > MOST_VALUES and 2 * len(values) > sum(map(len, found))):
        return []
    return [SettingLine(label, tuple(sorted(own.items(), key=lambda pair: float(pair[0])))) for own in found]


def _others(item: Configuration, name: str) -> tuple[object, ...]:
    """Return everything about a configuration but one setting."""
    rest = tuple(sorted((key, str(value)) for key, value in item.settings.items() if key != name))
    return (item.method, item.pattern, rest)


def _marginals(name: str, items: Sequence[Configuration], label: str) -> list[Marginal]:
    """Return the means over configurations at each value, or over quarters of many values; none over unlike masks."""
    if len({comparable_group(item) for item in items}) != 1:
        return []
    at: dict[Value, list[float]] = {}
    for item in items:
        value, mean = setting_of(item, name=name), item.selection
        if value is not None and mean is not None:
            at.setdefault(value, []).append(mean.mean)
    if 2 * len(at) <= len(items):
        return [Marginal(label, value, value, mean_interval(own)) for value, own in at.items()]
    numbers = sorted(value for value in at if not isinstance(value, str))
    if len(numbers) < len(at) or len(items) < PARTS * FEWEST_IN_PART:
        return []
    parts = [part.tolist() for part in np.array_split(np.array(numbers), PARTS)]
    return [
        Marginal(label, part[0], part[-1], mean_interval([own for value in part for own in at[value]]))
        for part in parts
    ]

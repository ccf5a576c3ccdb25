"""The result by each setting: every configuration, and the best of each method at each value of the setting."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import GROUPED_BY, Configuration, baselines, comparable_group, searched
from nmlab.reports.analysis.settings import ATTRIBUTES, distinguishing, setting_of
from nmlab.reports.read.typed_text import Value
from nmlab.reports.statistics import MeanEstimate

MOST_VALUES = 6  # that a line joins where each has one configuration
FEWEST = 2  # values of a line; methods that share a setting, and values that each shares with others


@dataclass(frozen=True, slots=True)
class SettingPoint:
    """One configuration: its value of the setting, its mean over seeds, and its method and pattern where they vary."""

    value: Value
    mean: MeanEstimate
    label: str


@dataclass(frozen=True, slots=True)
class SettingLine:
    """The best mean at each value of a setting, of the complete configurations with one label."""

    label: str
    best: tuple[tuple[Value, float], ...]


@dataclass(frozen=True, slots=True)
class SettingEffect:
    """One setting: every configuration that has it, and a line for each label whose values are few or repeat."""

    name: str
    points: tuple[SettingPoint, ...]
    lines: tuple[SettingLine, ...]


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


def _effect(name: str, items: Sequence[Configuration], labels: dict[str, str]) -> SettingEffect:
    points = []
    for item in items:
        value, mean = setting_of(item, name=name), item.selection
        assert value is not None
        assert mean is not None
        points.append(SettingPoint(value, mean, labels[item.key]))
    apart = dict.fromkeys(labels[item.key] for item in items)
    lines = (_line(name, [item for item in items if labels[item.key] == label], label) for label in apart)
    return SettingEffect(name, tuple(points), tuple(line for line in lines if line is not None))


def _line(name: str, items: Sequence[Configuration], label: str) -> SettingLine | None:
    """Return the line of the configurations with one label; None where their values are many, or not comparable."""
    choose = min if items[0].objective.mode == "min" else max
    best: dict[Value, float] = {}
    for item in items:
        value, mean = setting_of(item, name=name), item.selection
        if item.is_complete and value is not None and mean is not None:
            best[value] = choose(mean.mean, best.get(value, mean.mean))
    is_grid = len(best) <= MOST_VALUES or 2 * len(best) <= len(items)
    is_one_group = len({comparable_group(item) for item in items}) == 1
    return SettingLine(label, tuple(best.items())) if is_grid and is_one_group and len(best) >= FEWEST else None

"""The settings of configurations: which of them vary, and how they are written."""

from collections.abc import Iterable, Sequence

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.read.typed_text import Value
from nmlab.trials.contract import run_params

EXACT_BELOW = 1e6
"""Whole numbers below this are written in full."""
ATTRIBUTES = (run_params.METHOD, run_params.PATTERN)
"""What two configurations may differ in besides their settings."""


def varying(configurations: Sequence[Configuration]) -> tuple[str, ...]:
    """Return the settings in which configurations of one and the same method differ.

    A setting that only some configurations of a method have counts as differing. A setting that differs only between
    methods is not listed, since the method's name implies it; see :func:`constant`.
    """
    methods: dict[str, list[Configuration]] = {}
    for item in configurations:
        methods.setdefault(item.method, []).append(item)
    chosen = {name for items in methods.values() for name in _differing(items)}
    return tuple(sorted(chosen, key=lambda name: ("." in name, name)))


def distinguishing(configurations: Sequence[Configuration]) -> tuple[str, ...]:
    """Return everything in which these configurations differ: method and pattern where they vary, then settings."""
    attributes = [name for name in ATTRIBUTES if len({getattr(item, name) for item in configurations}) > 1]
    return (*attributes, *varying(configurations))


def setting_of(item: Configuration, *, name: str) -> Value | None:
    """Return a configuration's method, pattern or setting; None where it has no such setting."""
    return str(getattr(item, name)) if name in ATTRIBUTES else item.settings.get(name)


def varying_by_method(configurations: Iterable[Configuration]) -> dict[str, tuple[str, ...]]:
    """Return for each method the settings in which its configurations differ."""
    own: dict[str, list[Configuration]] = {}
    for item in configurations:
        own.setdefault(item.method, []).append(item)
    return {method: varying(items) for method, items in own.items()}


def constant(configurations: Sequence[Configuration]) -> dict[str, Value]:
    """Return the settings that all of these configurations have and share."""
    if not configurations:
        return {}
    first, *others = configurations
    return {
        name: value
        for name, value in first.settings.items()
        if all(item.settings.get(name) == value for item in others)
    }


def setting_text(item: Configuration, *, names: Iterable[str]) -> str:
    """Return ``alpha=0.99, initial_mask=wanda`` for those of the named settings that this configuration has."""
    return ", ".join(f"{name}={value_text(item.settings[name])}" for name in names if name in item.settings)


def labels_of(items: Sequence[Configuration]) -> dict[str, str]:
    """Return labels of configurations by key: method, pattern where there are several, and varying settings."""
    names = varying(items)
    several = len({item.pattern for item in items}) > 1
    labels = {}
    for item in items:
        title = f"{item.method} {item.pattern}" if several else item.method
        setting = setting_text(item, names=names)
        labels[item.key] = f"{title}: {setting}" if setting else title
    return labels


def value_text(value: Value) -> str:
    """Return a setting as text: a fraction with four significant digits, other values in full."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < EXACT_BELOW else f"{value:.4g}"
    return str(value)


def _differing(items: Sequence[Configuration]) -> set[str]:
    names = {name for item in items for name in item.settings}
    return {name for name in names if len({item.settings.get(name) for item in items}) > 1}

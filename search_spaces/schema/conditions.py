"""Conditional entries: when one is active, the order in which names get values, and wrong conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from nmlab.search_spaces.schema.entries import Entry, IntEntry, ListedEntry
from nmlab.search_spaces.schema.scalars import has
from nmlab.trials.contract.near_names import hint, nearest
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES as SAMPLES
from nmlab.trials.contract.wording import either, shown

TOP_LEVEL = ("method", "pattern")
"""Names outside `space` that are part of every configuration, searched or not."""
BESIDE_SPACE = (*TOP_LEVEL, SAMPLES)
"""Names outside `space` that can be searched."""


def is_active(entry: Entry, *, settled: Mapping[str, object]) -> bool:
    """Return whether the condition of `entry` holds for the values chosen so far, `settled`.

    A name without a value, because its own condition does not hold, fulfils no condition.
    """
    return all(name in settled and has(values, settled[name]) for name, values in entry.when.items())


def settling_order(entries: Mapping[str, Entry]) -> list[str]:
    """Return the names of `entries` in their own order, but each after the names in its condition.

    The conditions must not form a cycle (`problems` reports one).
    """
    ordered: dict[str, None] = {}

    def settle(name: str) -> None:
        for parent in entries[name].when:
            if parent in entries and parent not in ordered:
                settle(parent)
        ordered.setdefault(name)

    for name in entries:
        settle(name)
    return list(ordered)


def problems(entries: Mapping[str, Entry], *, fixed: Mapping[str, object]) -> Iterator[str]:
    """Yield one line for each condition of `entries` that is not allowed or can never hold."""
    for name, entry in entries.items():
        path = f"{name}.when" if name in BESIDE_SPACE else f"space.{name}.when"
        if name in BESIDE_SPACE and entry.when:
            needed = "a number of samples" if name == SAMPLES else f"a {name}"
            yield f"{path}: expected no condition, because every configuration needs {needed}"
            continue
        for parent, values in entry.when.items():
            text = _problem(parent, values, entries=entries, fixed=fixed)
            if text:
                yield f"{path}.{parent} {shown(values[0] if len(values) == 1 else values)}: {text}"
    yield from _circle(entries)


def _problem(
    parent: str, values: Sequence[object], *, entries: Mapping[str, Entry], fixed: Mapping[str, object]
) -> str:
    if parent in entries:
        return _unreachable(parent, values, entry=entries[parent])
    if parent in TOP_LEVEL:
        return ""
    if parent in fixed:
        return f"{parent} is fixed; expected a name from space, method or pattern"
    return f"unknown name {parent!r}{hint(parent, dict.fromkeys((*TOP_LEVEL, *entries)))}"


def _unreachable(parent: str, values: Sequence[object], *, entry: Entry) -> str:
    if isinstance(entry, ListedEntry):
        return _unlisted(parent, values, listed=entry.values)
    if isinstance(entry, IntEntry):
        return _outside(parent, values, bounds=entry.bounds)
    return f"{parent} is {entry.kind}; a condition needs a name with listed values or whole numbers"


def _unlisted(parent: str, values: Sequence[object], *, listed: Sequence[object]) -> str:
    for value in values:
        if not has(listed, value):
            valid = [item if isinstance(item, str) else shown(item) for item in listed]
            near = nearest(value, valid)
            meant = f"did you mean {near!r}?" if near else f"expected {either(valid)}"
            return f"{parent} is never {shown(value)}; {meant}"
    return ""


def _outside(parent: str, values: Sequence[object], *, bounds: tuple[int, int]) -> str:
    low, high = bounds
    for value in values:
        if type(value) is not int or not low <= value <= high:
            return f"{parent} is never {shown(value)}; expected a whole number from {low} to {high}"
    return ""


def _circle(entries: Mapping[str, Entry]) -> Iterator[str]:
    parents = {name: [other for other in entry.when if other in entries] for name, entry in entries.items()}
    try:
        TopologicalSorter(parents).prepare()
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        yield f"space.{error.args[1][0]}.when: conditions form a circle: {circle}"

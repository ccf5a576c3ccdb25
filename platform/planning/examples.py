"""Example configurations that together use every value of a search, so that wrong values are found before the start."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, islice
from typing import cast

from nmlab.platform.search.initial_points import RandomDraw, Value, points
from nmlab.search_spaces.schema.conditions import TOP_LEVEL
from nmlab.search_spaces.schema.entries import Entry, IntEntry, ListedEntry, LogUniformEntry, UniformEntry
from nmlab.search_spaces.schema.scalars import has
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import Configuration, DefineByRun, grid_points
from nmlab.trials.contract.values import Scalar

MOST_CHECKED = 10_000
"""The most configurations of a finite space that are all checked, and the most pairs of values."""
_MOST_PLANNED = 500
"""The most configurations of a finite space for each of which memory and time are forecast."""

_Options = Mapping[str, Sequence[Scalar]]
_Mark = tuple[tuple[str, str, Scalar], ...]
"""Names with the types and values that they have in a configuration; 1 and true are equal, and are two values."""


def configurations_to_check(study: Study) -> list[Configuration]:
    """Return every configuration of a grid, or of a finite space of at most ``MOST_CHECKED``.

    Of any other space return those of `covering_configurations`.
    """
    if study.search.algorithm == "grid":
        return grid_points(study)
    return _all_points(study, most=MOST_CHECKED) or covering_configurations(study)


def configurations_to_plan(study: Study) -> list[Configuration]:
    """Return all configurations of a grid or of a small space, else those of `covering_configurations`.

    They are few enough to forecast each.
    """
    if study.search.algorithm == "grid":
        return grid_points(study)
    return _all_points(study, most=_MOST_PLANNED) or covering_configurations(study)


def covering_configurations(study: Study) -> list[Configuration]:
    """Return configurations that use every listed value, both ends of every range, and all possible pairs of them.

    For a whole number the values that conditions name are used too. If there are more than ``MOST_CHECKED`` pairs, only
    the pairs of a condition and what it activates are used.
    """
    options = {name: _options(name, study.entries) for name in study.entries}
    seen: set[_Mark] = set()
    found: list[Configuration] = []
    for wanted in _wanted(study.entries, options):
        if _marks(wanted) <= seen or (forced := _settled(study, options, wanted)) is None:
            continue
        draw = _Forced(forced, seed=len(found))
        found.append(DefineByRun(study)(draw))
        names = sorted(draw.drawn)
        seen |= {mark for pair in combinations(names, 2) for mark in [_mark(draw.drawn, pair)]}
        seen |= {_mark(draw.drawn, (name,)) for name in names}
    return found or [DefineByRun(study)(RandomDraw(0, ends=True))]


class _Forced(RandomDraw):
    """Takes some values as given, and draws the others at random from the ends of ranges and from lists."""

    def __init__(self, forced: Mapping[str, Scalar], *, seed: int) -> None:
        super().__init__(seed, ends=True)
        self._forced = forced

    def _note(self, name: str, value: Value) -> Value:
        return super()._note(name, cast(Value, self._forced.get(name, value)))


def _all_points(study: Study, *, most: int) -> list[Configuration]:
    """Return all configurations of a finite space; none if it has more than ``most`` or is not finite."""
    if any(isinstance(entry, UniformEntry | LogUniformEntry) for entry in study.entries.values()):
        return []
    found = list(islice(points(study), most + 1))
    return found if len(found) <= most else []


def _options(name: str, entries: Mapping[str, Entry]) -> Sequence[Scalar]:
    entry = entries[name]
    if isinstance(entry, ListedEntry):
        return list(entry.values)
    assert isinstance(entry, IntEntry | UniformEntry | LogUniformEntry)
    asked = [value for other in entries.values() for value in other.when.get(name, ())]
    return list(dict.fromkeys([*entry.bounds, *asked]))


def _wanted(entries: Mapping[str, Entry], options: _Options) -> Iterator[Configuration]:
    """Yield the values to cover by some configuration: all pairs if there are not too many, then single values."""
    pairs = list(combinations(entries, 2))
    if sum(len(options[first]) * len(options[second]) for first, second in pairs) > MOST_CHECKED:
        pairs = [(parent, name) for name, entry in entries.items() for parent in entry.when if parent in entries]
    for first, second in pairs:
        yield from ({first: one, second: other} for one in options[first] for other in options[second])
    for name, values in options.items():
        yield from ({name: value} for value in values)


def _settled(study: Study, options: _Options, forced: Configuration) -> Configuration | None:
    """Return ``forced`` with the values that activate its names; None if no values do."""
    top = {name: getattr(study, name) for name in TOP_LEVEL if name not in study.entries}
    for name in forced:
        for parent, values in study.entries[name].when.items():
            settled = {**top, **forced}
            if parent in settled:
                if not has(values, settled[parent]):
                    return None
                continue
            tries = ({**forced, parent: value} for value in options.get(parent, ()) if has(values, value))
            return next((done for each in tries if (done := _settled(study, options, each)) is not None), None)
    return forced


def _marks(wanted: Configuration) -> set[_Mark]:
    names = sorted(wanted)
    return {_mark(wanted, tuple(names[:2]))}


def _mark(values: Mapping[str, Scalar], names: tuple[str, ...]) -> _Mark:
    return tuple((name, type(values[name]).__name__, values[name]) for name in names)

"""Configurations in the order of what is plotted of them, with their starts, their fresh seeds and the baselines."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from nmlab.reports.analysis.configurations import Configuration, baselines, groups_of, searched
from nmlab.reports.analysis.settings import distinguishing, setting_of, value_text
from nmlab.reports.statistics import MeanEstimate
from nmlab.reports.values import wants_log

SHOWN = 30
"""The most configurations that are shown, baselines apart."""


@dataclass(frozen=True, slots=True)
class RankedPoint:
    """One configuration: its mean, its interval (None for one seed) and the mean of its own initial mask.

    ``initial`` is None where it was measured on another text, ``fresh`` where nothing was run again on fresh seeds;
    ``fresh_runs`` are the runs behind it. ``seeds`` counts the finished runs in the mean. ``is_complete`` says that all
    seeds of the search finished, ``is_whole`` that those that count did: the fresh ones, where there are any.
    """

    key: str
    label: str
    mean: float
    low: float | None
    high: float | None
    initial: float | None
    is_complete: bool
    fresh: MeanEstimate | None = None
    fresh_runs: tuple[str, ...] = ()
    seeds: int = 1
    is_selected: bool = False
    is_whole: bool = True

    @property
    def values(self) -> tuple[float, ...]:
        """Everything that is drawn of it: means, ends of intervals, and its start."""
        own = (self.mean, self.low, self.high, self.initial)
        fresh = () if self.fresh is None else (self.fresh.mean, self.fresh.low, self.fresh.high)
        return tuple(value for value in (*own, *fresh) if value is not None)

    @property
    def shown(self) -> float:
        """The mean that counts: over fresh seeds where there are any."""
        return self.mean if self.fresh is None else self.fresh.mean


@dataclass(frozen=True, slots=True)
class ReferenceLine:
    """The mean of one baseline method at its best setting, next to the points it may be compared with."""

    name: str
    value: float
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Ranking:
    """Points from top to bottom, group by group; baselines as lines next to their group.

    Those on fresh seeds come first, then those whose seeds all finished, then the others, each best first by the mean
    that is plotted. ``is_by_setting`` says that they are in the order of the one number in which they differ instead.
    """

    metric: str
    label_names: tuple[str, ...]
    points: tuple[RankedPoint, ...]
    lines: tuple[ReferenceLine, ...]
    hidden: int
    without_value: int
    is_log: bool
    has_several_settings: bool = False
    selects_on_validation: bool = False
    is_by_setting: bool = False

    @property
    def decisive(self) -> tuple[RankedPoint, ...]:
        """The points that the axis has to show: those of which no seed is missing; all where each lacks one.

        The mean of two seeds of three, with an interval over one degree of freedom, can lie or reach anywhere.
        """
        return tuple(point for point in self.points if point.is_complete and point.is_whole) or self.points

    @property
    def is_grouped(self) -> bool:
        """Whether some lines stand beside some points only, because not all masks compare."""
        return len({(line.first, line.last) for line in self.lines}) > 1


def ranking_of(
    configurations: Sequence[Configuration], *, shown: int = SHOWN, selected: Collection[str] = ()
) -> Ranking:
    """Return what the ranking shows: the best ``shown`` configurations, the same number of each group.

    Args:
        configurations: of one launch, best first.
        shown: the most of them.
        selected: the keys of those that are marked as selected.
    """
    tried = searched(configurations)
    valued = [item for item in tried if item.value is not None]
    groups = groups_of(valued)
    names = distinguishing(valued)
    is_by_setting = len(names) == 1 and all(isinstance(item.settings.get(names[0]), int | float) for item in valued)
    points: list[RankedPoint] = []
    lines: list[ReferenceLine] = []
    for group, members in groups.items():
        first = len(points)
        shown_here = members[: max(3, shown // len(groups))]
        ordered = _by_setting(shown_here, names) if is_by_setting else sorted(shown_here, key=_order)
        points += [_point(item, names, is_selected=item.key in selected) for item in ordered]
        others = groups_of(baselines(configurations)).get(group, [])
        lines += _lines(others, first, len(points) - 1)
    lines = [*_lines([item for item in configurations if item.is_dense], 0, len(points) - 1), *lines]
    found = Ranking(
        metric=configurations[0].objective.reported,
        label_names=names,
        points=tuple(points),
        lines=tuple(lines),
        hidden=len(valued) - len(points),
        without_value=len(tried) - len(valued),
        has_several_settings=_has_several_settings(baselines(configurations)),
        selects_on_validation=configurations[0].objective.selects_on_validation,
        is_by_setting=is_by_setting,
        is_log=False,
    )
    return replace(found, is_log=_is_log(found))


def _is_log(info: Ranking) -> bool:
    """Return whether a log scale is clearer for the means that the axis has to show, and for the lines."""
    means = [
        value
        for point in info.decisive
        for value in (point.mean, point.initial, None if point.fresh is None else point.fresh.mean)
        if value is not None
    ]
    return wants_log([*means, *(line.value for line in info.lines)], ratio=10.0)


def _lines(items: Sequence[Configuration], first: int, last: int) -> list[ReferenceLine]:
    """Return a line for each method, at the configuration that the searched metric selects."""
    best: dict[str, tuple[float, float]] = {}
    for item in items:
        if item.value is not None:
            reported = item.as_reported.value or item.value
            own = (_loss(item), reported.mean)
            best[item.method] = min(own, best.get(item.method, own))
    return [ReferenceLine(method, mean, first, last) for method, (_, mean) in best.items()]


def _by_setting(items: Sequence[Configuration], names: Sequence[str]) -> list[Configuration]:
    return sorted(items, key=lambda item: float(item.settings[names[0]]))


def _order(item: Configuration) -> tuple[bool, bool, float]:
    """Return the place of a configuration by what is plotted of it: on fresh seeds, whole, and its mean."""
    value = item.as_reported.value or item.value
    assert value is not None
    return not item.is_confirmed, not item.is_complete, value.mean if item.objective.mode == "min" else -value.mean


def _loss(item: Configuration) -> float:
    """Return the searched metric as a number that is smaller for the better; a model from elsewhere has none."""
    if item.selection is None:
        return math.inf
    return item.selection.mean if item.objective.mode == "min" else -item.selection.mean


def _has_several_settings(items: Sequence[Configuration]) -> bool:
    """Return whether a baseline method was run with several settings in one group of comparable configurations."""
    return any(len({item.method for item in group}) < len(group) for group in groups_of(items).values())


def _point(item: Configuration, names: Sequence[str], *, is_selected: bool) -> RankedPoint:
    value = item.value
    assert value is not None
    initial = None if item.objective.selects_on_validation else item.initial
    return RankedPoint(
        key=item.key,
        label=_label(item, names),
        mean=value.mean,
        low=value.low,
        high=value.high,
        initial=initial.mean if initial else None,
        is_complete=item.is_complete,
        fresh=item.as_reported.value if item.is_confirmed else None,
        fresh_runs=item.as_reported.runs_with(item.objective.reported) if item.is_confirmed else (),
        seeds=value.n,
        is_selected=is_selected,
        is_whole=item.as_reported.is_complete,
    )


def _label(item: Configuration, names: Sequence[str]) -> str:
    values = [setting_of(item, name=name) for name in names or ("method",)]
    return " · ".join("–" if value is None else value_text(value) for value in values)

"""A cross-tabulation of configurations: the best complete one for each combination of values, with its marks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from nmlab.reports.analysis.compared_studies import ATTRIBUTES, ComparedConfiguration
from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.marks import ONLY_SEEDS, MarkEvidence, configuration_marks
from nmlab.reports.analysis.metrics import neutral_metrics
from nmlab.reports.analysis.pairwise import Side, best_side
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.objective import Objective
from nmlab.reports.read.typed_text import Value
from nmlab.reports.values import Mark
from nmlab.trials.contract.near_names import unknown_name

Key = tuple[Value | None, ...]
"""The values of the dimensions of one row or column; None for a setting that a configuration does not have."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The dimensions of rows and columns, and the metrics that are shown."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    objective: Objective

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions of rows and columns together."""
        return (*self.rows, *self.columns)


@dataclass(frozen=True, slots=True)
class CrossTabulation:
    """What a pivot table shows.

    Attributes:
        layout: the dimensions and metrics.
        rows: the values of every row, in order.
        columns: the values of every column, in order.
        best: the best complete configuration of each row and column that has one.
        marks: the mark of each row, column and metric where there is a configuration.
        most_in_a_cell: of how many complete configurations a cell shows the best, at most.
        infeasible: the complete configurations of each row and column that has no best, because all break a constraint
            of their search.
    """

    layout: Layout
    rows: tuple[Key, ...]
    columns: tuple[Key, ...]
    best: Mapping[tuple[Key, Key], Configuration]
    marks: Mapping[tuple[Key, Key, str], Mark]
    most_in_a_cell: int
    infeasible: Mapping[tuple[Key, Key], tuple[Configuration, ...]] = field(default_factory=dict)


def layout_of(
    members: Sequence[ComparedConfiguration], *, rows: Sequence[str], columns: Sequence[str], metrics: Sequence[str]
) -> Layout:
    """Check the requested rows, columns and metrics, and choose defaults.

    Rows are methods by default; columns are studies and patterns, where there are several.

    Raises:
        ReportError: an unknown name, with the nearest; or one that is asked for as row and as column.
    """
    known = {*ATTRIBUTES, *(name for member in members for name in member.item.settings)}
    for name in (*rows, *columns):
        if name not in known:
            raise ReportError(unknown_name(name, kind="row or column", known=known))
    twice = [name for name in rows if name in columns]
    if twice:
        raise ReportError(f"{twice[0]!r} is asked for as row and as column; it can be one of them")
    objective = members[0].item.objective
    measured = {name for member in members for trial in member.item.trials for name in trial.metrics}
    for name in metrics:
        if name not in measured:
            raise ReportError(unknown_name(name, kind="metric", known=measured))
    chosen_rows = tuple(rows) or tuple(name for name in ("method",) if name not in columns) or ("study",)
    several = [name for name in ("study", "pattern") if len({member.get(name) for member in members} - {""}) > 1]
    chosen_columns = tuple(columns) or tuple(name for name in several if name not in chosen_rows)
    return Layout(chosen_rows, chosen_columns, tuple(metrics) or _default_metrics(members, objective), objective)


def _default_metrics(members: Sequence[ComparedConfiguration], objective: Objective) -> tuple[str, ...]:
    """Return the reported metric, and the perplexities of neutral texts where there are any."""
    return tuple(dict.fromkeys((objective.reported, *neutral_metrics([member.item for member in members]))))


def cross_tabulation(
    members: Sequence[ComparedConfiguration], *, layout: Layout, evidence: MarkEvidence = ONLY_SEEDS
) -> CrossTabulation:
    """Return the best complete configuration of each cell by the searched metric, marked among those of its column.

    A configuration of a study that selects on validation text is selected there, within its study. One that breaks a
    constraint of its search is never the best.

    Masks that may be compared are marked as in every table. The dense model has no pattern: it is in the column of
    every pattern and never competes.

    Args:
        members: the configurations.
        layout: rows, columns and metrics.
        evidence: what marks rest on besides the seeds.
    """
    rows, columns = _keys(members, layout.rows), _column_keys(members, layout.columns)
    best: dict[tuple[Key, Key], Configuration] = {}
    infeasible: dict[tuple[Key, Key], tuple[Configuration, ...]] = {}
    counts = [0]
    for row, column in product(rows, columns):
        inside = [member.item for member in members if _is_in(member.get, layout, (row, column))]
        complete = [item for item in inside if item.is_complete and Side(item).values(layout.objective.reported)]
        counts.append(len(complete))
        first = best_configuration(
            [item for item in complete if not item.breaks_constraint], objective=layout.objective
        )
        if first is None and complete:
            infeasible |= {(row, column): tuple(complete)}
        if first is not None:
            best[row, column] = first
    marks: dict[tuple[Key, Key, str], Mark] = {}
    for column in columns:
        own = {row: best[row, column] for row in rows if (row, column) in best}
        found = configuration_marks(list(own.values()), metrics=layout.metrics, evidence=evidence)
        marks |= {
            (row, column, metric): mark
            for metric, column_marks in found.items()
            for row, mark in zip(own, column_marks, strict=True)
        }
    return CrossTabulation(layout, tuple(rows), tuple(columns), best, marks, max(counts), infeasible)


def best_configuration(complete: Sequence[Configuration], *, objective: Objective) -> Configuration | None:
    """Return the best by what selects; where that differs between them, the best reported one of the best."""
    sides: dict[str, list[Side]] = {}
    for item in complete:
        sides.setdefault(_selecting(item, objective), []).append(Side(item))
    leaders = [best_side(own, metric=metric) for metric, own in sides.items()]
    kept = [side for side in leaders if side is not None]
    best = kept[0] if len(kept) == 1 else best_side(kept, metric=objective.reported)
    return None if best is None else best.item


def _selecting(item: Configuration, objective: Objective) -> str:
    """Return the metric that selects a configuration: its objective if both report one metric, else that metric."""
    own = item.objective.metric if item.objective.reported == objective.reported else objective.reported
    return own if Side(item).values(own) else objective.reported


def _keys(members: Sequence[ComparedConfiguration], names: Sequence[str]) -> list[Key]:
    found = {tuple(member.get(name) for name in names) for member in members}
    return sorted(found, key=lambda key: [_order(value) for value in key])


def _column_keys(members: Sequence[ComparedConfiguration], names: Sequence[str]) -> list[Key]:
    """Return the columns; the dense model has no column of its own where columns are patterns."""
    return _keys([member for member in members if not member.item.is_dense] or members, names)


def _is_in(value_of: Callable[[str], Value | None], layout: Layout, place: tuple[Key, Key]) -> bool:
    """Return whether a configuration with these values belongs into a cell; one without a pattern fits any column."""
    row, column = place
    in_row = all(value_of(name) == value for name, value in zip(layout.rows, row, strict=True))
    return in_row and all(
        value_of(name) == value or (name == "pattern" and value_of(name) == "")
        for name, value in zip(layout.columns, column, strict=True)
    )


def _order(value: Value | None) -> tuple[int, float, str]:
    if value is None:
        return (2, 0.0, "")
    return (1, 0.0, value) if isinstance(value, str) else (0, float(value), "")

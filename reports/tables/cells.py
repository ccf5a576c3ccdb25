"""Cells and columns that several tables of a report share."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.metrics import metric_column, plain_name
from nmlab.reports.analysis.pairwise import Side
from nmlab.reports.analysis.settings import setting_text, value_text, varying, varying_by_method
from nmlab.reports.read.objective import Objective
from nmlab.reports.values import Cell, Column, Mark, Style, estimate_cell

INFEASIBLE = "infeasible"
"""What stands for a rank, or a mean, of what breaks a constraint of the search."""
RANK = Column(
    "rank",
    "#",
    Style.GENERAL,
    help="rank among the searched configurations of the same pattern",
)
CONFIGURATION = Column("configuration", "configuration", Style.CODE, help="hash of the setting without its seed")
METHOD = Column("method", "method")
PATTERN = Column("pattern", "pattern", help="N of every M weights are kept")
SEEDS = Column("seeds", "seeds", help="finished runs that the mean is taken over, of all runs of the configuration")


@dataclass(frozen=True, slots=True)
class Settings:
    """The column that shows the settings in which configurations differ.

    Where every configuration has all of these settings, pages print the bare values under a title that names
    them; otherwise, and in data files, each value carries its name.
    """

    names: tuple[str, ...]
    is_bare: bool
    of_baselines: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, items: Sequence[Configuration], *, baselines: Sequence[Configuration] = ()) -> "Settings":
        """Return the settings in which some configurations differ, and those in which the baselines differ."""
        names = varying(items)
        is_bare = all(name in item.settings for name in names for item in items)
        return cls(names, is_bare, varying_by_method(baselines))

    @property
    def column(self) -> Column:
        """The column, titled by the names where the values are bare."""
        title = " · ".join(self.names) if self.names and self.is_bare else "setting"
        return Column("setting", title, help="the settings that differ between configurations")

    def cell(self, item: Configuration) -> Cell:
        """Return the cell of one configuration; for a baseline, the settings in which others of its method differ."""
        if item.is_baseline:
            return Cell(setting_text(item, names=self.of_baselines.get(item.method, ())))
        bare = " · ".join(value_text(item.settings[name]) for name in self.names) if self.is_bare else ""
        return Cell(setting_text(item, names=self.names), shown=bare)


def rank_cell(item: Configuration, *, places: dict[str, int]) -> Cell:
    """Return a configuration's rank, or that it breaks a constraint; empty where it has none."""
    return Cell(INFEASIBLE if item.breaks_constraint else places.get(item.key, ""))


def pattern_columns(configurations: Sequence[Configuration]) -> tuple[Column, ...]:
    """Return the column of patterns where several were run, else none."""
    return (PATTERN,) if has_several(configurations, attribute="pattern") else ()


def pattern_cells(item: Configuration, *, columns: Sequence[Column]) -> tuple[Cell, ...]:
    """Return the cell of a configuration that belongs to these :func:`pattern_columns`."""
    return tuple(Cell("" if item.is_dense else item.pattern) for _ in columns)


def mean_cell(side: Side, *, metric: str) -> Cell:
    """Return the mean of a metric over the finished runs of a side, with those runs."""
    return estimate_cell(side.estimate(metric), run_ids=side.runs_with(metric))


def metric_cell(item: Configuration, *, metric: str) -> Cell:
    """Return the mean of a metric over the configuration's finished runs, with those runs."""
    return mean_cell(Side(item), metric=metric)


def fresh_column(objective: Objective) -> Column:
    """Return the column of means over fresh seeds, in the reported metric."""
    title = f"{plain_name(objective.reported)} on fresh seeds"
    base = metric_column(objective.reported, objective=objective, title=title)
    return replace(base, key="fresh", help=f"{objective.reported} over seeds that took no part in the search")


def fresh_cell(item: Configuration) -> Cell:
    """Return the mean of a configuration over fresh seeds; empty where none finished."""
    fresh = item.as_reported
    return Cell(None) if fresh is item else metric_cell(fresh, metric=item.objective.reported)


def marked(cells: Iterable[Cell], *, marks: Iterable[Mark]) -> tuple[Cell, ...]:
    """Return cells with their marks, which :mod:`nmlab.reports.analysis.marks` decides."""
    return tuple(replace(cell, mark=mark) for cell, mark in zip(cells, marks, strict=True))


def marked_means(items: Iterable[Configuration], *, metric: str, marks: Iterable[Mark]) -> tuple[Cell, ...]:
    """Return the means of a metric with their marks."""
    return marked((metric_cell(item, metric=metric) for item in items), marks=marks)


def seeds_cell(item: Configuration) -> Cell:
    """Return ``3``, or ``2 of 3`` where a run did not finish."""
    finished = len(item.finished)
    text = str(finished) if item.is_complete else f"{finished} of {item.runs_in_all}"
    return Cell(value=text, run_ids=item.run_ids)


def metric_columns(metrics: Sequence[str], *, configurations: Sequence[Configuration]) -> tuple[Column, ...]:
    """Return one column for each metric, the searched and the reported one with the study's direction."""
    objective = configurations[0].objective if configurations else None
    return tuple(metric_column(metric, objective=objective) for metric in metrics)


def has_several(configurations: Sequence[Configuration], *, attribute: str) -> bool:
    """Return whether the masks differ in an attribute such as ``pattern`` or ``method``."""
    return len({getattr(item, attribute) for item in configurations if not item.is_dense}) > 1

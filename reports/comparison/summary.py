"""The summary: the dense model, the masks nobody had to learn, and the best configuration of each method."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

from nmlab.reports.comparison.cells import (
    CONFIGURATION,
    PATTERN,
    SEEDS,
    competes,
    metric_cell,
    metric_columns,
    seeds_cell,
)
from nmlab.reports.configurations import (
    Configuration,
    baselines,
    best_of,
    comparable_group,
    evaluation_setting,
    groups_of,
    searched,
    setting_text,
    varying,
)
from nmlab.reports.frame import initial_name
from nmlab.reports.metrics import alias_of, evaluation_metrics, plain_name
from nmlab.reports.tables import Cell, Column, Row, Table, estimate_cell, marked, without_empty_columns

MASK = Column("mask", "mask")
EVALUATED = Column("evaluated", "evaluated", help="model and evaluation text, where rows differ in them")
SETTING = Column("setting", "setting", help="the settings that the search varied, as in the best configuration")


@dataclass(frozen=True, slots=True)
class Line:
    """One row in the making: which configuration, seen as what, competing where, the best of how many tried."""

    item: Configuration
    kind: str
    name: str
    setting: str = ""
    group: Hashable | None = None
    tried: int = 1


def summary_table(configurations: Sequence[Configuration]) -> Table:
    """Return the table that answers the study in one look.

    Rows: dense, the baselines, and for each searched method the initial mask of its best configuration and
    that configuration, within each group of comparable configurations. The dense row never competes, nor does
    a mean that leaves out a seed.
    """
    lines = summary_lines(configurations)
    objective = configurations[0].objective
    metrics = evaluation_metrics(configurations, objective=objective)
    columns = (
        MASK,
        PATTERN,
        EVALUATED,
        SETTING,
        *metric_columns(metrics, configurations=configurations),
        SEEDS,
        CONFIGURATION,
    )
    shared = set.intersection(*(set(evaluation_setting(line.item)) for line in lines))
    rows = [_row(line, metrics, shared) for line in lines]
    for index, column in enumerate(columns):
        if column.key in metrics:
            cells = marked(
                [row.cells[index] for row in rows],
                direction=column.direction,
                groups=[line.group for line in lines],
            )
            rows = [_with_cell(row, index, cell) for row, cell in zip(rows, cells, strict=True)]
    table = Table(
        key="summary",
        title="Summary",
        caption="Mean and 95% t-interval over seeds. Best in bold, second underlined, among masks of the same "
        "pattern, model and evaluation text; the dense model is shown for scale and does not compete.",
        columns=columns,
        rows=tuple(rows),
        notes=_notes(configurations, lines),
    )
    return without_empty_columns(table)


def summary_lines(configurations: Sequence[Configuration]) -> list[Line]:
    """Return what the summary's rows are about, in order."""
    dense = [item for item in baselines(configurations) if item.is_dense]
    lines = [Line(item, "dense", "dense (no mask)") for item in dense]
    for members in groups_of(configurations).values():
        others = baselines(members)
        for item in others:
            same = [other for other in others if other.method == item.method]
            setting = setting_text(item, names=varying(same))
            lines.append(Line(item, "baseline", item.method, setting, competes(item)))
        for method in dict.fromkeys(item.method for item in searched(members)):
            lines += _method_lines([item for item in searched(members) if item.method == method])
    return lines


def _method_lines(tried: list[Configuration]) -> list[Line]:
    best = best_of(tried)
    if best is None:
        return []
    setting = setting_text(best, names=varying(tried))
    name = f"{best.method}, best of {len(tried)}" if len(tried) > 1 else best.method
    lines = [Line(best, "best", name, setting, competes(best), tried=len(tried))]
    if best.is_learned:
        start = best.settings.get("initial_mask")
        title = f"{best.method}, its initial mask" + (f" ({start})" if start else "")
        lines.insert(0, Line(best, "initial", title, "", competes(best)))
    return lines


def _row(line: Line, metrics: Sequence[str], shared: set[str]) -> Row:
    item = line.item
    evaluated = ", ".join(part for part in evaluation_setting(item) if part not in shared)
    cells = [Cell(line.name), Cell("" if item.is_dense else item.pattern), Cell(evaluated), Cell(line.setting)]
    for metric in metrics:
        if line.kind == "initial":
            name = initial_name(metric)
            cells.append(estimate_cell(item.estimate(name), run_ids=item.runs_with(name)))
        else:
            cells.append(metric_cell(item, metric=metric))
    cells += [seeds_cell(item), Cell(item.key, run_ids=item.run_ids)]
    return Row(tuple(cells), run_ids=item.run_ids, kind=line.kind, is_flawed=not item.is_complete)


def _with_cell(row: Row, index: int, cell: Cell) -> Row:
    return replace(row, cells=(*row.cells[:index], cell, *row.cells[index + 1 :]))


def _notes(configurations: Sequence[Configuration], lines: Sequence[Line]) -> tuple[str, ...]:
    notes = []
    objective = configurations[0].objective
    alias = alias_of(configurations, objective=objective)
    if alias is not None:
        notes.append(f"{plain_name(objective.metric)} is this study's {plain_name(alias)}.")
    if any(line.tried > 1 for line in lines):
        notes.append(
            "The best of several configurations was chosen on the same evaluation text, so its mean is optimistic."
        )
    groups = {comparable_group(line.item) for line in lines if not line.item.is_dense}
    if len(groups) > 1:
        notes.append(f"{len(groups)} groups of rows are not compared with each other.")
    return tuple(notes)

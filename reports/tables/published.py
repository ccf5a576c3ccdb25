"""A published table with our numbers, in the order of print."""

import math
from collections.abc import Sequence
from dataclasses import replace

from nmlab.reports.analysis.metrics import plain_name, style_of
from nmlab.reports.analysis.published import published_tables, remarks
from nmlab.reports.analysis.published.versus_published import Pair, agreement, order_p_values
from nmlab.reports.analysis.statements import p_value_text
from nmlab.reports.statistics import LEVEL
from nmlab.reports.values import (
    Cell,
    Column,
    ReportTable,
    Row,
    Style,
    estimate_cell,
    without_empty_columns,
)

COLUMNS = (
    Column("model", "published model"),
    Column("pattern", "pattern"),
    Column("method", "method"),
    Column("setting", "setting"),
    Column("metric", "published metric"),
    Column("value", "published", Style.GENERAL, help="as printed, in the unit of the paper"),
    Column(
        "ours",
        "ours",
        Style.GENERAL,
        help="the same quantity in the printed unit",
    ),
    Column("difference", "ours − published", Style.GENERAL, help="the models differ"),
    Column("searched", "", Style.GENERAL, help="where we did not measure what is printed"),
    Column("rank", "rank published", Style.GENERAL, help="among the rows of this model that both sides have"),
    Column("our_rank", "rank ours", Style.GENERAL, help="by our means, without a test between neighbours"),
    Column("flags", "remark"),
)


def published_table(pairs: Sequence[Pair], *, reproduces: str) -> ReportTable:
    """Return the printed rows with our numbers, differences and ranks; rows that we did not run are empty."""
    rows = tuple(_row(pair) for pair in pairs)
    name = published_tables()[reproduces].caption
    table = ReportTable(
        key=f"published-{reproduces.replace('/', '-')}",
        title=f"Published versus ours: {reproduces}",
        caption=f"{name}. The papers' models are far larger than ours and their texts differ, so only the order of the "
        "rows can be compared. Where we did not measure the printed quantity, our rows are ordered by our searched "
        "metric.",
        columns=_columns(pairs),
        rows=rows,
        notes=_notes(pairs),
    )
    return without_empty_columns(table)


def _row(pair: Pair) -> Row:
    item, number = pair.item, pair.number
    run_ids = item.run_ids if item is not None and pair.has_counterpart else ()
    unit = f" ({number.unit})" if number.unit else ""
    cells = (
        Cell(number.model),
        Cell(number.pattern),
        Cell(number.method),
        Cell(number.setting),
        Cell(number.metric + unit),
        Cell(None if math.isnan(number.value) else number.value, shown=number.printed),
        estimate_cell(pair.measured, run_ids=run_ids),
        Cell(pair.difference, run_ids=run_ids),
        _searched(pair, run_ids),
        Cell(pair.rank),
        Cell(pair.our_rank),
        Cell(", ".join(number.flags)),
    )
    return Row(cells, run_ids=run_ids, kind="dense" if number.method == "dense" else "searched")


def _searched(pair: Pair, run_ids: tuple[str, ...]) -> Cell:
    """Return the metric that we report where we have no value of the printed one."""
    return Cell(None) if pair.measured is not None else estimate_cell(pair.searched, run_ids=run_ids)


def _columns(pairs: Sequence[Pair]) -> tuple[Column, ...]:
    """Return the columns, with the name and number style of the metric that we report."""
    metrics = [pair.item.objective.reported for pair in pairs if pair.item is not None]
    if not metrics:
        return COLUMNS
    title, style = f"our {plain_name(metrics[0])}", style_of(metrics[0])
    return tuple(
        replace(column, title=title, style=style) if column.key == "searched" else column for column in COLUMNS
    )


def _notes(pairs: Sequence[Pair]) -> tuple[str, ...]:
    orders = agreement(pairs)
    p_values = order_p_values(pairs)
    notes = [
        f"{model}, {metric}: Kendall's tau of the printed order of {count} rows with that of our means is {tau:+.2f}"
        f"{_sureness(p_values[model, metric])}."
        for (model, metric), (tau, count) in orders.items()
        if not math.isnan(tau)
    ]
    flags = dict.fromkeys(flag for pair in pairs for flag in pair.number.flags)
    notes += [f"{flag}: {remarks()[flag].says}" for flag in flags]
    return tuple(notes)


def _sureness(p_value: float | None) -> str:
    """Return the p-value in brackets, with a warning where chance explains it; corrected over the table."""
    if p_value is None:
        return ""
    text = p_value_text(p_value)
    return f" ({text})" if p_value < LEVEL else f" ({text}: with so few rows, chance explains such an agreement)"

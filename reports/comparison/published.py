"""The published table beside ours, in the order of print."""

import math
from collections.abc import Sequence

from nmlab.reports.published import published_tables, remarks
from nmlab.reports.published.beside import Pair, agreement
from nmlab.reports.tables import Cell, Column, Row, Style, Table, estimate_cell, without_empty_columns

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
        help="in the printed unit where the quantity is the same",
    ),
    Column("quantity", "our metric"),
    Column("difference", "ours − published", Style.GENERAL, help="only of the same quantity; the models differ"),
    Column("rank", "rank published", Style.GENERAL, help="among the rows of this model that both sides have"),
    Column("our_rank", "rank ours", Style.GENERAL),
    Column("flags", "remark"),
)


def published_table(pairs: Sequence[Pair], *, reproduces: str) -> Table:
    """Return the printed rows with our numbers, differences and ranks; rows that we did not run stay empty."""
    rows = tuple(_row(pair) for pair in pairs)
    name = published_tables()[reproduces].caption
    table = Table(
        key=f"published-{reproduces.replace('/', '-')}",
        title=f"Published beside ours: {reproduces}",
        caption=f"{name}. The papers' models are far larger than ours and their texts are others, so the order of the "
        "rows is what can be compared; differences are shown where both measured the same quantity.",
        columns=COLUMNS,
        rows=rows,
        notes=_notes(pairs),
    )
    return without_empty_columns(table)


def _row(pair: Pair) -> Row:
    item = pair.item
    run_ids = item.run_ids if item is not None and pair.ours is not None else ()
    unit = f" ({pair.unit})" if pair.unit else ""
    cells = (
        Cell(pair.model),
        Cell(pair.pattern),
        Cell(pair.method),
        Cell(pair.setting),
        Cell(pair.metric + unit),
        Cell(None if math.isnan(pair.value) else pair.value, shown=pair.printed),
        estimate_cell(pair.ours, run_ids=run_ids),
        Cell(_quantity(pair)),
        Cell(pair.difference, run_ids=run_ids),
        Cell(pair.rank),
        Cell(pair.our_rank),
        Cell(", ".join(pair.flags)),
    )
    return Row(cells, run_ids=run_ids, kind="dense" if pair.method == "dense" else "searched")


def _quantity(pair: Pair) -> str | None:
    if pair.ours is None or pair.item is None:
        return None
    return "the same" if pair.is_same_quantity else pair.item.objective.metric


def _notes(pairs: Sequence[Pair]) -> tuple[str, ...]:
    notes = [
        f"{model}, {metric}: the order of {count} rows agrees with ours at Kendall's tau {tau:+.2f}."
        for (model, metric), (tau, count) in agreement(pairs).items()
    ]
    flags = dict.fromkeys(flag for pair in pairs for flag in pair.flags)
    notes += [f"{flag}: {remarks()[flag].says}" for flag in flags]
    return tuple(notes)

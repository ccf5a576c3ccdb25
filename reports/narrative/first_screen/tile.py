"""One tile: what it is about, its value, and a detail, as a row of the table of tiles."""

from nmlab.reports.values import Cell, Row


def tile(what: str, value: Cell, detail: str) -> Row:
    """Return a tile as a row, whose runs are those of its value."""
    return Row((Cell(what), value, Cell(detail)), run_ids=value.run_ids, kind="tile")

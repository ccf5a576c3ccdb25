"""Best and second best among the rows that may be compared."""

from collections.abc import Hashable, Sequence
from dataclasses import replace

from nmlab.reports.tables.table import Cell, Direction, Mark


def marked(cells: Sequence[Cell], *, direction: Direction, groups: Sequence[Hashable | None]) -> tuple[Cell, ...]:
    """Mark the best and the second-best value within each group of comparable rows.

    Equal values share a mark, and a mean that differs in the tenth digit counts as equal: that is how far the
    mean of equal numbers may lie beside them. A group of one row has nothing to beat and is left unmarked.

    Args:
        cells: one column, top to bottom.
        direction: which way the values get better.
        groups: for each row the group it competes in, or None where it does not compete.

    Returns:
        The same cells with their marks.
    """
    result = list(cells)
    for group in {group for group in groups if group is not None}:
        rows = [
            index for index, own in enumerate(groups) if own == group and isinstance(cells[index].value, int | float)
        ]
        values = sorted({_number(cells[index]) for index in rows}, reverse=direction is Direction.HIGHER)
        if len(rows) < 2 or direction is Direction.NONE:
            continue
        for index in rows:
            place = values.index(_number(cells[index]))
            if place < 2:
                result[index] = replace(cells[index], mark=(Mark.BEST, Mark.SECOND)[place])
    return tuple(result)


def _number(cell: Cell) -> float:
    assert not isinstance(cell.value, str)
    assert cell.value is not None
    return float(f"{cell.value:.9g}")

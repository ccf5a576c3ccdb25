"""Marks of the best and second best among comparable rows; rows that no test separates from the best share its mark."""

from collections.abc import Hashable, Sequence
from dataclasses import replace

from nmlab.reports.values.table import Cell, Mark
from nmlab.trials.contract.measures import Direction


def marked(
    cells: Sequence[Cell],
    *,
    direction: Direction,
    groups: Sequence[Hashable | None],
    tied: Sequence[bool] | None = None,
) -> tuple[Cell, ...]:
    """Mark the best and the second-best value within each group of comparable rows.

    Equal values share a mark. Means that differ only in the tenth digit count as equal, since rounding moves the mean
    of equal numbers that far. A row that a test does not separate from the best is marked as tied with it, and the
    second place goes to the best of the rest. A group of one row is left unmarked.

    Args:
        cells: one column, top to bottom.
        direction: which way the values get better.
        groups: for each row the group it competes in, or None where it does not compete.
        tied: for each row whether a test could not separate it from the best of its group; without it, no row.

    Returns:
        The same cells with their marks.
    """
    result = list(cells)
    shares = tied if tied is not None else [False] * len(cells)
    for group in {group for group in groups if group is not None}:
        rows = [
            index for index, own in enumerate(groups) if own == group and isinstance(cells[index].value, int | float)
        ]
        if len(rows) < 2 or direction is Direction.NONE:
            continue
        for index, mark in _marks(cells, rows, shares, direction).items():
            result[index] = replace(cells[index], mark=mark)
    return tuple(result)


def _marks(cells: Sequence[Cell], rows: Sequence[int], tied: Sequence[bool], direction: Direction) -> dict[int, Mark]:
    choose = max if direction is Direction.HIGHER else min
    best = choose(_number(cells[index]) for index in rows)
    marks = {index: Mark.BEST for index in rows if _number(cells[index]) == best}
    marks |= {index: Mark.TIED for index in rows if tied[index] and index not in marks}
    rest = [index for index in rows if index not in marks]
    if rest:
        second = choose(_number(cells[index]) for index in rest)
        marks |= {index: Mark.SECOND for index in rest if _number(cells[index]) == second}
    return marks


def _number(cell: Cell) -> float:
    assert not isinstance(cell.value, str)
    assert cell.value is not None
    return float(f"{cell.value:.9g}")

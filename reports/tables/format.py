"""The one place where a number becomes text, so that every renderer prints the same."""

import math

from nmlab.reports.tables.table import Cell, Column, Direction, Interval, Style

EMPTY = "–"
MINUS = "−"
ARROWS = {Direction.LOWER: " ↓", Direction.HIGHER: " ↑", Direction.NONE: ""}
DECIMALS = {Style.FIXED2: 2, Style.FIXED4: 4, Style.SIGNED2: 2, Style.SIGNED4: 4, Style.SECONDS: 1}
TOO_LONG_FOR_DECIMALS = 1e6
SCALES = {Style.MILLISECONDS: 1e3, Style.MEBIBYTES: 1 / 2**20}


def title_text(column: Column) -> str:
    """Return a column's title with the arrow of its direction."""
    return column.title + ARROWS[column.direction]


def cell_text(cell: Cell, column: Column) -> str:
    """Return a cell as text, without its mark: ``78.12 ± 1.30``, ``37.41 (n = 1)``, ``–``."""
    if cell.value is None:
        return EMPTY
    if isinstance(cell.value, str):
        return cell.shown or cell.value
    text = number_text(cell.value, column.style)
    if cell.low is not None and cell.high is not None:
        return f"{text} {_interval_text(cell.low, cell.high, column)}"
    return f"{text} (n = 1)" if cell.n == 1 else text


def number_text(value: float, style: Style) -> str:
    """Return one number in a style, in the unit of that style (seconds to ms, bytes to MiB)."""
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{MINUS if value < 0 else ''}∞"
    scaled = value * SCALES.get(style, 1.0)
    if style is Style.INTEGER:
        text = f"{round(scaled):,d}"
    elif style in DECIMALS and abs(scaled) < TOO_LONG_FOR_DECIMALS:
        text = f"{scaled:,.{DECIMALS[style]}f}"
    elif style is Style.GENERAL and isinstance(value, int):
        text = str(value)
    else:
        text = f"{scaled:.4g}"
    sign = "+" if style in (Style.SIGNED2, Style.SIGNED4) and scaled > 0 else ""
    return sign + text.replace("-", MINUS)


def _interval_text(low: float, high: float, column: Column) -> str:
    if column.interval is Interval.BRACKET:
        return f"[{number_text(low, column.style)}, {number_text(high, column.style)}]"
    plain = {Style.SIGNED2: Style.FIXED2, Style.SIGNED4: Style.FIXED4}.get(column.style, column.style)
    if column.style is Style.INTEGER:
        plain = Style.GENERAL
    return f"± {number_text((high - low) / 2, plain)}"

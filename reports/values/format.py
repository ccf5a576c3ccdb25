"""Numbers as text, in one place, so that every renderer prints the same."""

import math
from collections.abc import Sequence

from nmlab.reports.values.table import Cell, Column, Interval, Style
from nmlab.trials.contract.measures import Direction

EMPTY = "–"
MINUS = "−"
ARROWS = {Direction.LOWER: " ↓", Direction.HIGHER: " ↑", Direction.NONE: ""}
DECIMALS = {Style.FIXED2: 2, Style.FIXED4: 4, Style.SIGNED2: 2, Style.SIGNED4: 4, Style.RATIO: 3}
SMALLEST_P_VALUE = 0.001
DIGITS = {Style.SECONDS: 3, Style.MILLISECONDS: 3, Style.MEBIBYTES: 3}
MOST_DECIMALS = 3  # of those that follow the size of the number
TOO_LONG_FOR_DECIMALS = 1e6
GENERAL_DIGITS = 4
SMALLEST_PLAIN, LARGEST_PLAIN = -4, 6  # magnitudes between which a general number has no power of ten
SCALES = {Style.MILLISECONDS: 1e3, Style.MEBIBYTES: 1 / 2**20}


def title_text(column: Column) -> str:
    """Return a column's title with the arrow of its direction."""
    return column.title + ARROWS[column.direction]


def cell_text(cell: Cell, *, column: Column) -> str:
    """Return a cell as text, without its mark: ``78.12 ± 1.30``, ``37.41 (n = 1)``, ``–``."""
    if cell.value is None:
        return EMPTY
    if isinstance(cell.value, str) or cell.shown:
        return cell.shown or str(cell.value)
    text = number_text(cell.value, style=column.style)
    if cell.low is None or cell.high is None:
        return f"{text} (n = 1)" if cell.n == 1 else text
    if column.interval is Interval.BRACKET:
        low, high = (number_text(end, style=column.style) for end in (cell.low, cell.high))
        return f"{text} [{low}, {high}]"
    return f"{text} ± {half_width_text((cell.high - cell.low) / 2, mean=cell.value, style=column.style)}"


def number_text(value: float, *, style: Style) -> str:
    """Return one number in a style, in the unit of that style (seconds to ms, bytes to MiB)."""
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{MINUS if value < 0 else ''}∞"
    scaled = value * SCALES[style] if style in SCALES else value
    text = _written(scaled, scaled, style)
    if not any(digit in text for digit in "123456789"):
        return text.removeprefix("-")  # zero has no sign
    sign = "+" if style in (Style.SIGNED2, Style.SIGNED4) and scaled > 0 else ""
    return sign + text.replace("-", MINUS)


def half_width_text(half: float, *, mean: float, style: Style) -> str:
    """Return half an interval with as many decimals, or the same power of ten, as its mean."""
    if not math.isfinite(mean) or not math.isfinite(half):
        return number_text(half, style=style)
    scale = SCALES.get(style, 1.0)
    return _written(half * scale, mean * scale, style).replace("-", MINUS)


def _written(number: float, mean: float, style: Style) -> str:
    """Write a number in the precision of ``mean``: the number itself, or the mean it belongs to."""
    magnitude = math.floor(math.log10(abs(mean))) if mean else 0
    if style is Style.P_VALUE:
        return "<0.001" if number < SMALLEST_P_VALUE else f"{number:.3f}"
    if style is Style.INTEGER:
        return f"{round(number):,d}"
    if style is Style.GENERAL:
        return str(number) if isinstance(number, int) else _general(number, magnitude)
    if abs(mean) >= TOO_LONG_FOR_DECIMALS:
        return f"{number / 10**magnitude:.2f}e{magnitude}"
    if style in DECIMALS:
        return f"{number:,.{DECIMALS[style]}f}"
    decimals = min(MOST_DECIMALS, max(0, DIGITS[style] - 1 - magnitude))
    return f"{number:,.{decimals}f}" if mean else "0"


def _general(number: float, magnitude: int) -> str:
    """Write a number with four significant digits of that magnitude, without trailing zeros."""
    if number == 0:
        return "0"
    power = 0 if SMALLEST_PLAIN <= magnitude < LARGEST_PLAIN else magnitude
    decimals = max(0, GENERAL_DIGITS - 1 - magnitude + power)
    text = f"{number / 10.0**power:,.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if decimals else text
    return f"{text}e{power}" if power else text


def wants_log(values: Sequence[float], *, ratio: float) -> bool:
    """Return whether positive values spread over at least this ratio, so that a log scale is clearer."""
    return bool(values) and min(values) > 0 and max(values) / min(values) >= ratio


def counted(number: int, *, noun: str) -> str:
    """Return ``1 run`` or ``3 runs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

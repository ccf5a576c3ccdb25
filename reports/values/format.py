"""Numbers as text, in one place, so that every renderer prints the same.

One rule: a mean is rounded where its interval is uncertain, so that half the interval keeps two significant digits.
A number without an interval has at most five significant digits, and the decimals of its style at most.
"""

import math
from collections.abc import Sequence

from nmlab.reports.values.table import Cell, Column, Interval, Style
from nmlab.trials.contract.measures import Direction

EMPTY = "–"
MINUS = "−"
ARROWS = {Direction.LOWER: " ↓", Direction.HIGHER: " ↑", Direction.NONE: ""}
DECIMALS = {Style.FIXED2: 2, Style.FIXED4: 4, Style.SIGNED2: 2, Style.SIGNED4: 4, Style.RATIO: 3, Style.INTEGER: 0}
MOST_DIGITS = 5  # of a number without an interval
INTERVAL_DIGITS = 2  # of half an interval
EXACT_DIGITS = 6  # of a mean, however narrow its interval
SMALLEST_P_VALUE = 0.001
LARGEST_P_VALUE = 0.9995  # which three decimals would write as certainty
DIGITS = {Style.SECONDS: 3, Style.MILLISECONDS: 3, Style.MEBIBYTES: 3}
MOST_DECIMALS = 3  # of those that follow the size of the number
TOO_LONG_FOR_DECIMALS = 1e6
GENERAL_DIGITS = 4
SMALLEST_PLAIN, LARGEST_PLAIN = -4, 6  # magnitudes between which a general number has no power of ten
SCALES = {Style.MILLISECONDS: 1e3, Style.MEBIBYTES: 1 / 2**20}
SIGNED = (Style.SIGNED2, Style.SIGNED4)


def title_text(column: Column) -> str:
    """Return a column's title with the arrow of its direction."""
    return column.title + ARROWS[column.direction]


def cell_text(cell: Cell, *, column: Column) -> str:
    """Return a cell as text, without its mark: ``78.1 ± 1.3``, ``37.41 (n = 1)``, ``–``."""
    if cell.value is None:
        return EMPTY
    if isinstance(cell.value, str) or cell.shown:
        return cell.shown or str(cell.value)
    if cell.low is None or cell.high is None:
        text = number_text(cell.value, style=column.style)
        return f"{text} (n = 1)" if cell.n == 1 else text
    if column.interval is Interval.BRACKET:
        return bracket_text(cell.value, low=cell.low, high=cell.high, style=column.style)
    return plus_minus_text(cell.value, half=(cell.high - cell.low) / 2, style=column.style)


def plus_minus_text(mean: float, *, half: float, style: Style) -> str:
    """Return a mean with half its interval: ``78.1 ± 1.3``."""
    shown, own = rounded_texts([mean, half], half=half, style=style)
    return f"{shown} ± {own.removeprefix('+')}"


def bracket_text(mean: float, *, low: float, high: float, style: Style) -> str:
    """Return a mean with the ends of its interval: ``−40.0 [−42.5, −37.5]``."""
    shown, *ends = rounded_texts([mean, low, high], half=(high - low) / 2, style=style)
    return f"{shown} [{', '.join(ends)}]"


def rounded_texts(values: Sequence[float], *, half: float, style: Style) -> tuple[str, ...]:
    """Return numbers with as many decimals as half an interval needs for two significant digits.

    Args:
        values: a mean first, then what belongs to it, such as the ends of its interval.
        half: half the interval; where it is zero or not finite, numbers are written as without an interval.
        style: of the numbers, whose unit and sign they get.
    """
    mean = values[0]
    if not (math.isfinite(mean) and math.isfinite(half) and half > 0) or style is Style.P_VALUE:
        return tuple(number_text(value, style=style) for value in values)
    scale = SCALES.get(style, 1.0)
    size = _magnitude(max(abs(mean), half) * scale)
    power = size if _has_power(size, style) else 0
    place = _magnitude(half * scale, digits=INTERVAL_DIGITS) + 1 - INTERVAL_DIGITS  # of the last shown digit
    place = max(place, size + 1 - EXACT_DIGITS)
    return tuple(_signed(_at_place(value * scale, place, power), value, style) for value in values)


def number_text(value: float, *, style: Style) -> str:
    """Return one number in a style, in the unit of that style (seconds to ms, bytes to MiB)."""
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else f"{MINUS if value < 0 else ''}∞"
    scaled = value * SCALES[style] if style in SCALES else value
    return _signed(_written(scaled, style), scaled, style)


def _signed(text: str, value: float, style: Style) -> str:
    """Return a number with the sign of its style; zero has no sign."""
    if not any(digit in text.partition("e")[0] for digit in "123456789"):
        return text.removeprefix("-")
    return ("+" if style in SIGNED and value > 0 else "") + text.replace("-", MINUS)


def _written(number: float, style: Style) -> str:
    """Write a number that has no interval."""
    size = _magnitude(number)
    if style is Style.P_VALUE:
        return "<0.001" if number < SMALLEST_P_VALUE else ">0.99" if number >= LARGEST_P_VALUE else f"{number:.3f}"
    if style is Style.INTEGER:
        return f"{round(number):,d}"
    if style is Style.GENERAL:
        return str(number) if isinstance(number, int) else _without_zeros(number, size)
    if abs(number) >= TOO_LONG_FOR_DECIMALS:
        return f"{number / 10**size:.2f}e{size}"
    if style in DECIMALS:
        return _at_place(number, max(-DECIMALS[style], size + 1 - MOST_DIGITS), 0)
    decimals = min(MOST_DECIMALS, max(0, DIGITS[style] - 1 - size))
    return f"{number:,.{decimals}f}" if number else "0"


def _without_zeros(number: float, size: int) -> str:
    """Write a number with four significant digits, without trailing zeros."""
    if number == 0:
        return "0"
    power = size if _has_power(size, Style.GENERAL) else 0
    decimals = max(0, GENERAL_DIGITS - 1 - size + power)
    text = f"{number / 10.0**power:,.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if decimals else text
    return f"{text}e{power}" if power else text


def _at_place(number: float, place: int, power: int) -> str:
    """Write a number rounded to a multiple of ``10**place``, as a multiple of ``10**power``."""
    rounded = round(number, -place) if place > 0 else number
    text = f"{rounded / 10.0**power:,.{max(0, power - place)}f}"
    return f"{text}e{power}" if power else text


def _has_power(size: int, style: Style) -> bool:
    """Return whether numbers of this magnitude are written with a power of ten; counts never are."""
    if style is Style.INTEGER:
        return False
    return size >= LARGEST_PLAIN or (style is Style.GENERAL and size < SMALLEST_PLAIN)


def _magnitude(number: float, *, digits: int = MOST_DIGITS) -> int:
    """Return the power of ten of the first digit, after rounding to some significant digits; 0 for zero."""
    return int(f"{number:.{digits - 1}e}".partition("e")[2]) if number and math.isfinite(number) else 0


def wants_log(values: Sequence[float], *, ratio: float) -> bool:
    """Return whether positive values spread over at least this ratio, so that a log scale is clearer."""
    return bool(values) and min(values) > 0 and max(values) / min(values) >= ratio


def counted(number: int, *, noun: str) -> str:
    """Return ``1 run`` or ``3 runs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

"""The numbers of one pair in words: means, the change of B from A with its interval, the test, what it can detect."""

import math
import re
from dataclasses import dataclass

from nmlab.reports.analysis.metrics import difference_style, metric_column, style_of
from nmlab.reports.analysis.statements import p_value_text
from nmlab.reports.analysis.two_sides import PairResult, deciding_test
from nmlab.reports.values import cell_text, estimate_cell, number_text

MOST_DECIMALS = 3


@dataclass(frozen=True, slots=True)
class Change:
    """The change of B from A with its interval: percent for perplexities, else in the unit of the metric."""

    item: PairResult
    value: float
    low: float
    high: float

    @property
    def signed(self) -> tuple[str, str, str]:
        """The change and both ends of its interval: ``−39.3%``, ``−41.1%``, ``−37.5%``."""
        value, low, high = (_signed(end, half=self._half, item=self.item) for end in (self.value, self.low, self.high))
        return value, low, high

    @property
    def in_words(self) -> str:
        """``39.3% lower``."""
        size = _sized(abs(self.value), half=self._half, item=self.item)
        return f"{size} {'lower' if self.value < 0 else 'higher'}"

    @property
    def interval_in_words(self) -> str:
        """The interval of ``in_words``, whose sign is that of the change: ``95% interval 37.5% to 41.1%``."""
        ends = sorted([-self.low, -self.high] if self.value < 0 else [self.low, self.high])
        return f"95% interval {' to '.join(_sized(end, half=self._half, item=self.item) for end in ends)}"

    @property
    def _half(self) -> float:
        return (self.high - self.low) / 2


def change_of(item: PairResult) -> Change | None:
    """Return the change of B from A; None without an interval."""
    decisive = item.decisive
    if decisive is None or decisive.low is None or decisive.high is None:
        return None
    ends = (decisive.difference, decisive.low, decisive.high)
    value, low, high = (100 * (end - 1) for end in ends) if item.comparison.is_ratio else ends
    return Change(item, value, low, high)


def bracketed_change(item: PairResult) -> str:
    """Return ``−39.3% [−41.1%, −37.5%]``, without an interval the difference of the means, or ``equal``."""
    if item.finding == "equal":
        return "equal"
    change = change_of(item)
    if change is None:
        return number_text(item.difference, style=difference_style(item.metric))
    value, low, high = change.signed
    return f"{value} [{low}, {high}]"


def means_text(item: PairResult) -> tuple[str, str]:
    """Return the means of A and of B, with the decimals that their tables have."""
    first, second = item.comparison.reference, item.comparison.side
    cells = (estimate_cell(side.estimate(item.metric)) for side in (first, second))
    column = metric_column(item.metric)
    own, other = (re.split(r" ± | \(", cell_text(cell, column=column))[0] for cell in cells)
    return own, other


def p_text(item: PairResult) -> str:
    """Return the corrected p-value: ``p = 0.004``, ``p < 0.001``; empty without a test."""
    p_value = item.comparison.p_adjusted
    return "" if p_value is None else p_value_text(p_value)


def test_text(item: PairResult) -> str:
    """Return the deciding test with its p-value: ``paired t-test over 5 shared seeds, p = 0.004``."""
    return ", ".join(text for text in (deciding_test(item), p_text(item)) if text)


def detectable_size(item: PairResult) -> str:
    """Return the smallest true difference that such a comparison finds in 80% of cases; empty where not known."""
    least = item.detectable
    if least is None or not math.isfinite(least):
        return ""
    return f"{100 * (least - 1):.2g}%" if item.comparison.is_ratio else number_text(least, style=style_of(item.metric))


def _sized(value: float, *, half: float, item: PairResult) -> str:
    """Return an amount with decimals that follow the half width of its interval: two significant digits of that."""
    if not item.comparison.is_ratio:
        return number_text(value, style=style_of(item.metric))
    scale = half or abs(value)
    decimals = min(MOST_DECIMALS, max(0, 1 - math.floor(math.log10(scale)))) if scale > 0 else 0
    text = f"{value:,.{decimals}f}".replace("-", "−")
    return f"{text if any(digit in text for digit in '123456789') else text.lstrip('−')}%"


def _signed(value: float, *, half: float, item: PairResult) -> str:
    text = _sized(value, half=half, item=item)
    return f"+{text}" if value > 0 and any(digit in text for digit in "123456789") else text

"""Differences in words: ``3.3% higher perplexity (95% interval +2.1% to +4.5%, p = 0.004)``."""

from dataclasses import dataclass

from nmlab.reports.analysis.leader import Rival
from nmlab.reports.analysis.metrics import difference_style, direction_of, is_compared_by_ratio, plain_name
from nmlab.reports.analysis.statements import p_value_text
from nmlab.reports.read.objective import Objective
from nmlab.reports.values import Style, number_text, rounded_texts

LARGEST_PERCENT, SMALLEST_PERCENT = 2.0, 0.5  # ratios between which a difference is written in percent
SAME = "the same"


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of results, or their ratio, with its interval where there is one."""

    metric: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def is_percent(self) -> bool:
        """Whether it is a ratio that is written in percent."""
        return is_compared_by_ratio(self.metric) and SMALLEST_PERCENT < self.value < LARGEST_PERCENT

    @property
    def texts(self) -> tuple[str, ...]:
        """The difference and the ends of its interval: ``+3.3%``, ``+2.1%``, ``+4.5%``."""
        ends = () if self.low is None or self.high is None else (self.low, self.high)
        if not is_compared_by_ratio(self.metric):
            return _rounded((self.value, *ends), difference_style(self.metric))
        if not self.is_percent:
            return tuple(f"× {text}" for text in _rounded((self.value, *ends), Style.RATIO))
        shown = _rounded(tuple(100 * (end - 1) for end in (self.value, *ends)), Style.SIGNED2)
        return tuple(f"{text}%" for text in shown)

    @property
    def bracketed(self) -> str:
        """``+3.3% [+2.1%, +4.5%]``."""
        mean, *ends = self.texts
        return f"{mean} [{', '.join(ends)}]" if ends else mean

    @property
    def interval(self) -> str:
        """``95% interval +2.1% to +4.5%``; "" without one."""
        ends = self.texts[1:]
        return f"95% interval {' to '.join(ends)}" if ends else ""

    @property
    def clause(self) -> str:
        """What has it, in words: ``has 3.3% higher perplexity``."""
        name, text = plain_name(self.metric), self.texts[0]
        if is_compared_by_ratio(self.metric) and not self.is_percent:
            return f"has {text.removeprefix('× ')} times the {name}"
        return f"has {self.amount} {name}" if self.amount != SAME else f"has the same {name}"

    @property
    def amount(self) -> str:
        """Its size without the metric: ``3.3% higher``, ``3.10 times as high``, ``the same``."""
        text = self.texts[0]
        if is_compared_by_ratio(self.metric) and not self.is_percent:
            return f"{text.removeprefix('× ')} times as high"
        size = text.lstrip("+−")
        if not any(digit in size for digit in "123456789"):
            return SAME
        return f"{size} {'higher' if text.startswith('+') else 'lower'}"


def difference_of(rival: Rival) -> Difference | None:
    """Return the difference of a rival from the leader; None where nothing was compared."""
    found = rival.difference
    if found is None:
        return None
    return Difference(rival.item.objective.reported, found.difference, found.low, found.high)


def evidence_text(difference: Difference, *, p_value: float | None) -> str:
    """Return the interval and the p-value in brackets, with a space before; "" where there is neither."""
    parts = [difference.interval, "" if p_value is None else p_value_text(p_value)]
    shown = ", ".join(part for part in parts if part)
    return f" ({shown})" if shown else ""


def measured_in(metric: str, *, objective: Objective) -> str:
    """Return a metric with the direction in which it gets better: ``perplexity (lower is better)``."""
    direction = direction_of(metric, objective=objective)
    return f"{plain_name(metric)} ({direction} is better)" if direction else plain_name(metric)


def detectable_text(value: float, *, metric: str) -> str:
    """Return the smallest difference that a study detects: ``4.7%``, ``0.012``."""
    if not is_compared_by_ratio(metric):
        return number_text(value, style=Style.GENERAL)
    if value >= LARGEST_PERCENT:
        return f"a factor of {value:.2g}"
    return f"{100 * (value - 1):.2g}%"


def _rounded(values: tuple[float, ...], style: Style) -> tuple[str, ...]:
    half = (values[2] - values[1]) / 2 if len(values) > 1 else 0.0
    return rounded_texts(values, half=half, style=style)

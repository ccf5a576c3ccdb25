"""Numbers in sentences: means with intervals, differences, p-values, and the names of configurations."""

import math
from collections.abc import Sequence

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.metrics import plain_name, style_of
from nmlab.reports.analysis.pairwise import PairwiseComparison
from nmlab.reports.analysis.settings import setting_text, varying
from nmlab.reports.read.objective import Objective
from nmlab.reports.values import Style, number_text, plus_minus_text


def metric_text(value: float, *, metric: str) -> str:
    """Return a value of a metric in the number style of the tables."""
    return number_text(value, style=style_of(metric))


def is_nothing(difference: float, *, metric: str) -> bool:
    """Return whether a difference is zero at the decimals that are shown."""
    return metric_text(abs(difference), metric=metric) == metric_text(0.0, metric=metric)


def change_text(difference: float, *, objective: Objective, of: str, note: str = "") -> str:
    """Return ``40.00 lower than OF``; ``no different (0.00) from OF`` where it is zero at the shown decimals.

    Args:
        difference: own value minus the other's.
        objective: the metric that both are of.
        of: the other side, in words.
        note: a remark in brackets after the direction, such as :func:`quality` where a test supports it.
    """
    amount = metric_text(abs(difference), metric=objective.metric)
    if is_nothing(difference, metric=objective.metric):
        return f"no different ({amount}) from {of}"
    return f"{amount} {'lower' if difference < 0 else 'higher'}{f' ({note})' if note else ''} than {of}"


def quality(difference: float, *, objective: Objective) -> str:
    """Return whether a difference is for the ``better`` or for the ``worse``."""
    return "better" if (difference < 0) == (objective.mode == "min") else "worse"


def mean_text(item: Configuration) -> str:
    """Return ``80.0 ± 5.0 (3 seeds)`` of the reported metric of a configuration that has a value."""
    value, metric = item.value, item.objective.reported
    assert value is not None
    if value.half_width is None:
        return f"{metric_text(value.mean, metric=metric)} (one seed)"
    return f"{plus_minus_text(value.mean, half=value.half_width, style=style_of(metric))} ({value.n} seeds)"


def named(item: Configuration, *, among: Sequence[Configuration]) -> str:
    """Return ``maskpro with alpha=0.99 (1a2b3c4d)``: method, its own settings, and key."""
    setting = setting_text(item, names=varying([other for other in among if other.method == item.method]))
    return f"{item.method} with {setting} ({item.key})" if setting else f"{item.method} ({item.key})"


def difference_text(comparison: PairwiseComparison) -> str:
    """Return a ratio for perplexities, else a difference with the name of its metric."""
    decisive = comparison.decisive or comparison.training
    if comparison.is_ratio and decisive is not None:
        return f"× {number_text(math.exp(decisive.difference), style=Style.RATIO)}"
    value, name = comparison.difference, plain_name(comparison.metric)
    if is_nothing(value, metric=comparison.metric):
        return f"no different in {name}"
    return f"{'+' if value > 0 else ''}{number_text(value, style=style_of(comparison.metric))} {name}"


def p_value_text(p_value: float) -> str:
    """Return ``p = 0.012``, ``p < 0.001`` or ``p > 0.99``."""
    shown = number_text(p_value, style=Style.P_VALUE)
    return f"p {shown[0]} {shown[1:]}" if shown[0] in "<>" else f"p = {shown}"

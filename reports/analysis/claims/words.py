"""Differences and p-values in the evidence of a claim, as text."""

import math

from nmlab.reports.analysis.metrics import plain_name, style_of
from nmlab.reports.analysis.pairwise import PairwiseComparison
from nmlab.reports.analysis.statements import is_nothing
from nmlab.reports.values import Style, number_text


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
    """Return ``p = 0.012`` or ``p <0.001``."""
    shown = number_text(p_value, style=Style.P_VALUE)
    return f"p {shown}" if shown.startswith("<") else f"p = {shown}"

"""Sentences on the tests of the best mask, its cost, and the papers' claims."""

import math
from collections.abc import Mapping, Sequence

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.configurations import GROUPS_IN_WORDS
from nmlab.reports.analysis.metrics import is_counted, style_of
from nmlab.reports.analysis.pairwise import PairwiseComparison, Side, reasons_text, untested_reason
from nmlab.reports.analysis.totals import total_of, total_text
from nmlab.reports.narrative.winner_words import listed
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.tables.claims import summary_of
from nmlab.reports.values import Style, counted, number_text

NAMES_IN_WORDS = 3
BEST_MEAN = "has the best mean"


def verdict_sentences(analysis: Analysis) -> tuple[str, ...]:
    """Return the sentences on the tests of the best mask of each group, its cost, and the verdicts on the claims."""
    groups = [comparisons for comparisons in analysis.decisive_comparisons.values() if comparisons][:GROUPS_IN_WORDS]
    names = analysis.names
    several = len(groups) > 1
    found = [_sure_sentence(comparisons, names, analysis.evaluations, has_pattern=several) for comparisons in groups]
    found += [sentence for comparisons in groups[:1] if (sentence := _cost_sentence(comparisons[0], analysis))]
    return (*found, *([summary_of(analysis.judgements)] if analysis.judgements else []))


def _sure_sentence(
    comparisons: Sequence[PairwiseComparison],
    names: Mapping[tuple[str, bool], str],
    evaluations: Mapping[str, RunEvaluation],
    *,
    has_pattern: bool,
) -> str:
    best = comparisons[0].reference
    where = f"{best.item.pattern}: of" if has_pattern else "Of"
    tested = [item for item in comparisons if item.is_separated is not None]
    among = "compared on fresh seeds" if best.item.is_confirmation else "in the summary"
    start = f"{where} the {counted(len(comparisons) + 1, noun='mask')} {among}, {_called(best, names)}"
    ahead = [item for item in comparisons if item.is_ahead]
    if not tested and is_counted(comparisons[0].metric):
        return f"{start} is best; the metric is counted and the same in every run."
    reasons = reasons_text(untested_reason(item, evaluations=evaluations) for item in comparisons)
    if not tested:
        return f"{start} {_standing(ahead, BEST_MEAN)}, but no test was possible: {reasons}."
    close = [item for item in tested if not item.is_separated]
    untested = len(comparisons) - len(tested)
    rest = f" {counted(untested, noun='mask')} could not be tested: {reasons}." if untested else ""
    apart, standing = len(tested) - len(close), _standing(ahead, BEST_MEAN if close or untested else "is best")
    text = f"{start} {standing}. Tests at 5%, corrected for their number,"
    better = listed([_called(item.side, names) for item in tested if item.is_better])
    others = f"{apart} of {len(tested)} others{f' ({better} better than it)' if better else ''}"
    if not close:
        return f"{text} separate it from {others}.{rest}"
    shown = "; ".join(_close_text(item, names) for item in close[:NAMES_IN_WORDS])
    more = f" and {len(close) - NAMES_IN_WORDS} more" if len(close) > NAMES_IN_WORDS else ""
    found = f"separate it from {others}, but not from" if apart else "do not separate it from"
    return f"{text} {found} {shown}{more}.{rest}"


def _standing(ahead: Sequence[PairwiseComparison], otherwise: str) -> str:
    """Return how the mask that the others are compared with stands: others can be ahead of one that was selected."""
    if not ahead:
        return otherwise
    verb = "has" if len(ahead) == 1 else "have"
    return f"was selected, and {counted(len(ahead), noun='other')} {verb} a better mean"


def _close_text(item: PairwiseComparison, names: Mapping[tuple[str, bool], str]) -> str:
    """Return a mask that is not separable from the best, with its difference and the smallest detectable one."""
    name = _called(item.side, names)
    decisive = item.decisive
    if decisive is None or decisive.detectable is None:
        return name
    if decisive.difference == 0 == decisive.detectable:
        return f"{name}, which is equal"
    if item.is_ratio:
        ends = (decisive.difference, decisive.detectable)
        ratio, limit = (number_text(math.exp(value), style=Style.RATIO) for value in ends)
        return f"{name} (× {ratio}; smallest detectable × {limit})"
    style = style_of(item.metric)
    apart, limit = (number_text(value, style=style) for value in (decisive.difference, decisive.detectable))
    return f"{name} ({apart} apart; smallest detectable {limit})"


def _called(side: Side, names: Mapping[tuple[str, bool], str]) -> str:
    """Return the name of a side within a sentence: ``susi (best of 8)``, ``susi's initial mask (wanda)``."""
    method, comma, rest = names[side.item.key, side.is_initial].partition(", ")
    if side.is_initial:
        return f"{method}'s {rest.removeprefix('its ')}"
    return f"{method} ({rest})" if comma else method


def _cost_sentence(comparison: PairwiseComparison, analysis: Analysis) -> str:
    """Return what one run of the best configuration cost, and what all runs of its method cost."""
    item = comparison.reference.item
    seconds = item.estimate("cost/seconds")
    if seconds is None:
        return ""
    tokens = item.estimate("cost/tokens")
    text = f"One run of {item.method} ({item.key}) cost {number_text(seconds.mean, style=Style.SECONDS)} s"
    if tokens is not None and tokens.mean:
        text += f" and {number_text(tokens.mean, style=Style.INTEGER)} tokens"
    own = [other for other in analysis.configurations if other.method == item.method]
    total = total_of(own)
    return f"{text}; in total, {counted(total.runs, noun='run')} of {item.method} cost {total_text(total)}."

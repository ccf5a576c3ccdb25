"""What a mask reaches in-domain and on neutral texts, in words: beside its start, the best rule and the dense model."""

from collections.abc import Collection, Sequence

from nmlab.reports.analysis.metrics import plain_name, style_of
from nmlab.reports.analysis.neutral import IN_DOMAIN, ON_VALIDATION, TextFigures
from nmlab.reports.analysis.statements import is_nothing, metric_text
from nmlab.reports.statistics import MeanEstimate
from nmlab.reports.values import counted, plus_minus_text

MOST_TEXTS = 3  # neutral texts that a sentence names


def both_texts_line(found: Sequence[TextFigures]) -> str:
    """Return the figures of every text as one line; "" without a neutral text.

    ``In-domain perplexity 38.7 ± 0.4 (wanda 146.3); on neutral text: news 94.5 ± 0.5 (its start 96.6, dense 15.6).``
    """
    if not found:
        return ""
    own = {figures.metric: figures for figures in found}
    parts = []
    if IN_DOMAIN in own:
        parts.append(f"In-domain {plain_name(IN_DOMAIN)} {_figures_text(own[IN_DOMAIN])}")
    if ON_VALIDATION in own:
        parts.append(f"on the validation text {_figures_text(own[ON_VALIDATION])}")
    shown = ", ".join(f"{figures.text} {_figures_text(figures)}" for figures in _neutral(found)[:MOST_TEXTS])
    return f"{'; '.join([*parts, f'on neutral text: {shown}'])}{_left(found)}."


def texts_clause(found: Sequence[TextFigures], *, told: Collection[str]) -> str:
    """Return the figures that a verdict does not tell yet, as a clause; "" without a neutral text.

    Args:
        found: of every text.
        told: the metrics that the verdict tells of already.
    """
    parts = []
    if IN_DOMAIN not in told:
        parts += [f"in-domain {_short(figures)}" for figures in found if figures.metric == IN_DOMAIN]
    neutral = [f"{figures.text} {_short(figures)}" for figures in _neutral(found) if figures.metric not in told]
    parts += [f"on neutral text: {', '.join(neutral[:MOST_TEXTS])}"] if neutral else []
    return "; ".join(parts)


def neutral_sentence(found: Sequence[TextFigures]) -> str:
    """Return the sentence on the neutral texts, with the gain over the start; "" without one."""
    parts = [f"{figures.text} {_estimate_text(figures)}{_against(figures)}" for figures in _neutral(found)[:MOST_TEXTS]]
    return f"On neutral text it reaches {plain_name(IN_DOMAIN)}: {'; '.join(parts)}{_left(found)}." if parts else ""


def _neutral(found: Sequence[TextFigures]) -> list[TextFigures]:
    return [figures for figures in found if figures.text]


def _left(found: Sequence[TextFigures]) -> str:
    left = len(_neutral(found)) - MOST_TEXTS
    return f"; {counted(left, noun='more neutral text')} in the tables" if left > 0 else ""


def _figures_text(figures: TextFigures) -> str:
    """Return ``94.5 ± 0.5 (its start 96.6, wanda 96.6, dense 15.6)``."""
    beside = [*_beside(figures), *(["selected on"] if figures.is_selected_on else [])]
    return _estimate_text(figures) + (f" ({', '.join(beside)})" if beside else "")


def _short(figures: TextFigures) -> str:
    """Return the mean beside its start, else beside the best rule, and the dense model."""
    beside = [text for text in _beside(figures) if not (figures.start and figures.rule and _is_of_rule(text, figures))]
    shown = metric_text(figures.own.mean, metric=figures.metric)
    return shown + (f" ({', '.join(beside)})" if beside else "")


def _is_of_rule(text: str, figures: TextFigures) -> bool:
    return figures.rule is not None and text == _named(*figures.rule, metric=figures.metric)


def _beside(figures: TextFigures) -> list[str]:
    known = [
        *([("its start", figures.start)] if figures.start is not None else []),
        *([figures.rule] if figures.rule is not None else []),
        *([("dense", figures.dense)] if figures.dense is not None else []),
    ]
    return [_named(name, value, metric=figures.metric) for name, value in known]


def _named(name: str, value: MeanEstimate, *, metric: str) -> str:
    return f"{name} {metric_text(value.mean, metric=metric)}"


def _estimate_text(figures: TextFigures) -> str:
    own, style = figures.own, style_of(figures.metric)
    if own.half_width is None:
        return metric_text(own.mean, metric=figures.metric)
    return plus_minus_text(own.mean, half=own.half_width, style=style)


def _against(figures: TextFigures) -> str:
    """Return ``, 2.10 lower (better) than its own initial mask (96.6) and 78.9 higher than the dense model's 15.6``."""
    parts = []
    if figures.start is not None and figures.gain is not None:
        note = "" if not figures.gain.excludes_zero else " (better)" if figures.gain.mean < 0 else " (worse)"
        start = f"its own initial mask ({metric_text(figures.start.mean, metric=figures.metric)})"
        parts.append(_change(figures.gain.mean, figures.metric, start, note))
    elif figures.rule is not None:
        method, value = figures.rule
        of = f"the {method} mask's {metric_text(value.mean, metric=figures.metric)}"
        parts.append(_change(figures.own.mean - value.mean, figures.metric, of))
    if figures.dense is not None:
        of = f"the dense model's {metric_text(figures.dense.mean, metric=figures.metric)}"
        parts.append(_change(figures.own.mean - figures.dense.mean, figures.metric, of))
    return f", {' and '.join(parts)}" if parts else ""


def _change(difference: float, metric: str, of: str, note: str = "") -> str:
    amount = metric_text(abs(difference), metric=metric)
    if is_nothing(difference, metric=metric):
        return f"no different ({amount}) from {of}"
    return f"{amount} {'lower' if difference < 0 else 'higher'}{note} than {of}"

"""Numbers in sentences: a mean with its interval, a difference with its direction, and the name of a configuration."""

from collections.abc import Sequence

from nmlab.reports.analysis.configurations import Configuration, setting_text, varying
from nmlab.reports.analysis.metrics import style_of
from nmlab.reports.read.collect import Objective
from nmlab.reports.values import half_width_text, number_text


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
    """Return ``80.00 ± 4.97 (3 seeds)`` of the searched metric of a configuration that has a value."""
    value = item.value
    assert value is not None
    text = metric_text(value.mean, metric=item.objective.metric)
    if value.half_width is None:
        return f"{text} (one seed)"
    half = half_width_text(value.half_width, mean=value.mean, style=style_of(item.objective.metric))
    return f"{text} ± {half} ({value.n} seeds)"


def named(item: Configuration, *, among: Sequence[Configuration]) -> str:
    """Return ``maskpro with alpha=0.99 (1a2b3c4d)``: method, its own settings, and key."""
    setting = setting_text(item, names=varying([other for other in among if other.method == item.method]))
    return f"{item.method} with {setting} ({item.key})" if setting else f"{item.method} ({item.key})"

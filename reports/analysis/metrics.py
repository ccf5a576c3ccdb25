"""Properties of metrics by name: title, number style, direction, and how values are compared."""

from collections.abc import Sequence

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.read.objective import Objective
from nmlab.reports.values.table import Column, Style
from nmlab.trials.contract.declarations import metric_of
from nmlab.trials.contract.measures import Direction
from nmlab.trials.contract.metrics import EVAL, VALIDATION, neutral_perplexity, text_of

SIGNED = {Style.FIXED2: Style.SIGNED2, Style.FIXED4: Style.SIGNED4}
STYLES = {"perplexity": Style.FIXED2, "nats": Style.FIXED4, "bytes": Style.INTEGER}
"""How values are written, by unit."""
BY_UNIT = (f"{EVAL}token_perplexity", f"{EVAL}word_perplexity")
"""Recorded of every text beside ``eval/perplexity``, which is one of the two."""


def metric_column(metric: str, *, objective: Objective | None = None, title: str = "") -> Column:
    """Return the column of one metric, titled by the name users type without its ``eval/``.

    Args:
        metric: the full metric name.
        objective: the searched metric, whose direction is the study's own.
        title: a title other than the metric's name.
    """
    direction = direction_of(metric, objective=objective)
    return Column(
        key=metric,
        title=title or plain_name(metric),
        style=style_of(metric),
        direction=direction,
        help=f"{metric}; {direction} is better" if direction else metric,
    )


def plain_name(metric: str) -> str:
    """Return the readable name of a metric: ``token perplexity``, ``sample seconds``, ``state bytes``."""
    return metric_of(metric).label


def selection_metric(metric: str, *, objective: Objective) -> str:
    """Return the metric by which the best in another one is selected.

    It is the searched one for a perplexity of the evaluation text where the search selects on validation text, and for
    one of a neutral text, by which nothing is selected; otherwise it is the metric itself.
    """
    if text_of(metric):
        return objective.metric
    is_of_text = is_evaluated(metric) and not is_of_task(metric)
    return objective.metric if objective.selects_on_validation and is_of_text else metric


def chosen_on(metric: str, *, objective: Objective | None = None) -> str:
    """Return in words what the best in this metric is selected on: a text, or the metric itself.

    Without an objective it is selected by the metric itself.
    """
    selected = metric if objective is None else selection_metric(metric, objective=objective)
    if selected != metric:
        return "on the validation text" if selected.startswith(VALIDATION) else f"by {plain_name(selected)}"
    if text := text_of(metric):
        return f"on the same neutral text {text}"
    if metric.startswith(VALIDATION):
        return "on the same validation text"
    return "on the same evaluation text" if is_evaluated(metric) else f"by the same {plain_name(metric)}"


def is_evaluated(metric: str) -> bool:
    """Return whether a metric is a perplexity of the evaluation text or a measure of a task."""
    return metric_of(metric).family == "eval"


def is_counted(metric: str) -> bool:
    """Return whether a metric is counted rather than measured, and so the same in every run of a configuration."""
    return metric_of(metric).is_counted


def is_of_task(metric: str) -> bool:
    """Return whether a metric is a measure of a task, such as ``eval/quiz/acc``, and not of the evaluation text."""
    return bool(metric_of(metric).task)


def is_compared_by_ratio(metric: str) -> bool:
    """Return whether a metric is compared on the log scale: perplexities, which are exponentials of a loss."""
    return metric_of(metric).is_log


def style_of(metric: str) -> Style:
    """Return how values of a metric are written; an undeclared metric is written as a general number."""
    known = metric_of(metric)
    otherwise = Style.FIXED4 if known.task else Style.INTEGER if known.is_counted else Style.GENERAL
    return STYLES.get(known.unit, otherwise)


def difference_style(metric: str) -> Style:
    """Return how differences of a metric are written: like the metric, with a sign."""
    return SIGNED.get(style_of(metric), Style.GENERAL)


def direction_of(metric: str, *, objective: Objective | None = None) -> Direction:
    """Return which way a metric gets better; the study decides for its own objective and what reports it."""
    if objective is not None and metric in (objective.metric, objective.reported):
        return Direction.LOWER if objective.mode == "min" else Direction.HIGHER
    return metric_of(metric).direction


def evaluation_metrics(configurations: Sequence[Configuration], *, objective: Objective) -> tuple[str, ...]:
    """Return the metrics that tables show: the reported one, and every other ``eval/*`` metric with other values.

    The perplexity of each neutral text follows. The searched metric comes last where it is not the reported one.
    ``eval/perplexity`` is the perplexity of a token or of a word, whichever the study asks for; the other one is left
    out unless the study searches by it. So is a metric whose values equal those of one already listed, run by run.
    """
    chosen: dict[str, list[tuple[str, float]]] = {}
    first, last = objective.reported, objective.metric
    names = {name for name in _evaluated(configurations) if name not in BY_UNIT} | {first, last}
    names |= {*neutral_metrics(configurations)}
    for name in sorted(names, key=lambda name: (name != first, name == last, name)):
        own = _by_run(configurations, name)
        if own and own not in chosen.values():
            chosen[name] = own
    return tuple(chosen)


def neutral_metrics(configurations: Sequence[Configuration]) -> tuple[str, ...]:
    """Return the perplexity of every neutral text that any run was measured on, ``neutral/<name>/perplexity``."""
    names = {name for item in configurations for trial in item.every_trial for name in trial.metrics}
    return tuple(sorted(name for name in names if (text := text_of(name)) and name == neutral_perplexity(text)))


def alias_of(configurations: Sequence[Configuration], *, objective: Objective) -> str | None:
    """Return the metric that the reported metric repeats run by run, such as ``eval/token_perplexity``."""
    own = _by_run(configurations, objective.reported)
    others = (name for name in sorted(_evaluated(configurations)) if name != objective.reported)
    return next((name for name in others if _by_run(configurations, name) == own), None)


def _evaluated(configurations: Sequence[Configuration]) -> set[str]:
    """Return the evaluation metrics that any run has."""
    names = {name for item in configurations for trial in item.trials for name in trial.metrics}
    return {name for name in names if name.startswith(EVAL)}


def _by_run(configurations: Sequence[Configuration], metric: str) -> list[tuple[str, float]]:
    return [pair for item in configurations for pair in item.by_run(metric).items()]

"""The objectives of a search: metrics that a trial records, each in its better direction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from nmlab.search_spaces.schema.algorithms import ALGORITHMS, algorithms_where
from nmlab.search_spaces.schema.modes import mode_problems
from nmlab.search_spaces.schema.neutral import neutral_text
from nmlab.search_spaces.schema.sections import Data, Search
from nmlab.trials.contract.declarations import METHOD_FAMILIES, declared_metric, own_metrics, recorded_by
from nmlab.trials.contract.metrics import (
    COMMON,
    EVAL,
    NEUTRAL,
    PERPLEXITIES,
    VALIDATION,
    Phase,
    neutral_prefix,
    task_metric,
)
from nmlab.trials.contract.near_names import nearest
from nmlab.trials.contract.run_params import SEARCH_CONSTRAINTS
from nmlab.trials.contract.sections import Intervals
from nmlab.trials.contract.wording import shown

ON_EVALUATION, ON_VALIDATION = "eval/perplexity", "validation/perplexity"
"""The objective of a study that names none: without and with validation text."""


def objectives(search: Search, *, methods: tuple[str, ...], data: Data) -> Iterator[str]:
    """Check the number of objectives and modes, that each objective is recorded, and that its mode is the better one.

    Args:
        search: the section.
        methods: those of the search. Metrics that only the class of a method of another package declares are not
            checked here.
        data: the texts and the tasks of the study.
    """
    count, algorithm = len(search.metrics), ALGORITHMS[search.algorithm]
    if count < algorithm.fewest:
        yield f"search.metric {shown(search.metric)}: {search.algorithm} needs a list of two or more"
    if count > 1 and not algorithm.several:
        several = algorithms_where("several")
        yield f"search.metric {shown(search.metric)}: {search.algorithm} takes one metric; several need {several}"
    if len(search.modes) != count:
        yield f"search.mode {shown(search.mode)}: expected one min or max for each metric, {count} in all"
    for place, name in enumerate(search.metrics):
        problem = _problem(name, methods=methods, data=data)
        if problem:
            yield f"search.metric {name!r}: {problem}"
        elif len(search.modes) == count and (metric := declared_metric(name)) is not None:
            yield from mode_problems(metric, mode=search.modes[place])


def constraints(search: Search, *, methods: tuple[str, ...], data: Data) -> Iterator[str]:
    """Check that every constraint is on a metric that is recorded; the arguments are those of `objectives`."""
    for constraint in search.all_constraints:
        if problem := _problem(constraint.metric, methods=methods, data=data):
            yield f"{SEARCH_CONSTRAINTS}{constraint.metric}: {problem}"


def scheduler(search: Search, *, intervals: Intervals) -> Iterator[str]:
    """Check that early stopping has one objective, and values of it while a trial runs."""
    if search.scheduler is None:
        if search.grace_period is not None:
            yield f"search.grace_period {search.grace_period}: expected null, because search.scheduler is null"
        return
    name, metric = search.metrics[0], declared_metric(search.metrics[0])
    if len(search.metrics) > 1:
        several = f"search.metric names {len(search.metrics)} objectives, and no curve decides between them"
        yield f"search.scheduler {search.scheduler!r}: expected null, because {several}"
    elif metric is not None and metric.phase is Phase.END:
        yield (
            f"search.scheduler {search.scheduler!r}: expected null, because {name} is measured once, at the end of a "
            "trial"
        )
    elif intervals.evaluate_every is None:
        yield (
            f"intervals.evaluate_every null: {search.scheduler} compares {name} during training; expected a number of "
            "steps, for example 250"
        )


def confirmation(search: Search) -> Iterator[str]:
    """Check that there is a single objective, by which configurations are chosen to be confirmed."""
    if search.confirm is not None and len(search.metrics) > 1:
        several = f"search.metric names {len(search.metrics)} objectives, which have no single best"
        yield f"search.confirm: expected null, because {several}"


def stopping(search: Search) -> Iterator[str]:
    """Check that a search that stops where nothing improves has a single objective, and does not visit every point."""
    if search.stop is None:
        return
    if len(search.metrics) > 1:
        several = f"search.metric names {len(search.metrics)} objectives, which have no single best"
        yield f"search.stop: expected null, because {several}"
    elif search.algorithm == "grid":
        yield "search.stop: expected null, because a grid visits every point; budget.total limits what it uses"


def with_objective(study: object) -> object:
    """Return a study's settings, with validation perplexity as objective if it has validation text and names none."""
    if not isinstance(study, Mapping) or not isinstance(data := study.get("data"), Mapping):
        return study
    search = study.get("search", {})
    if data.get("validation") is None or not isinstance(search, Mapping) or "metric" in search:
        return study
    return {**study, "search": {**search, "metric": ON_VALIDATION}}


def common_objectives(data: Data | None) -> list[str]:
    """Return the metrics that searches of every method can aim at; ``data``: the texts of a study, if one is known."""
    names = [metric.name for metric in COMMON if metric.phase is not Phase.START]
    if data is None:
        return names
    texts = [text for item in data.neutral or () if (text := neutral_text(item).called)]
    neutral = [f"{neutral_prefix(text)}{name}" for text in texts for name in PERPLEXITIES]
    return [*(name for name in names if not _text_problem(name, data)), *neutral]


def _problem(name: str, *, methods: tuple[str, ...], data: Data) -> str:
    """Return why configurations cannot be chosen by a metric; "" if they can."""
    return _text_problem(name, data) or _unknown(name, methods=methods, data=data)


def _text_problem(name: str, data: Data) -> str:
    """Return why configurations cannot be chosen by a metric of this text; "" if they can."""
    if name.startswith(NEUTRAL) and not data.neutral:
        return "needs a neutral text, data.neutral"
    if data.validation is None:
        return "needs a validation text, data.validation" if name.startswith(VALIDATION) else ""
    if not name.startswith(EVAL):
        return ""
    chosen = f"expected {ON_VALIDATION}, or data.validation: null to choose on the evaluation text"
    return f"data.validation is the text to choose on, and evaluation is for the report; {chosen}"


def _unknown(name: str, *, methods: tuple[str, ...], data: Data) -> str:
    """Return why this metric cannot be an objective; "" if it can, or if only a method's class can tell."""
    common = common_objectives(data)
    if name in common:
        return ""
    task, tasks = task_metric(name), data.evaluation.tasks
    if task is not None:
        return "" if task.task in _task_names(tasks) else _task_hint(tasks)
    recorded = {method: recorded_by(method) for method in methods}
    known = {method: {metric.name for metric in found} for method, found in recorded.items() if found is not None}
    lacking = [method for method, names in known.items() if name not in names]
    if name.partition("/")[0] in METHOD_FAMILIES and not lacking:
        return ""
    own = {method: {metric.name for metric in metrics} for method, metrics in own_metrics().items()}
    owners = sorted(method for method, names in {**own, **known}.items() if name in names)
    if owners:
        return f"{' and '.join(lacking)} records no such metric; recorded by {', '.join(owners)}"
    match = nearest(name, [*common, *sorted(set().union(*known.values()))])
    examples = f"{ON_EVALUATION if data.validation is None else ON_VALIDATION}, train/loss or cost/seconds"
    return f"unknown metric; did you mean {match!r}?" if match else f"unknown metric; for example {examples}"


def _task_names(tasks: tuple[str, ...]) -> set[str]:
    """Return the names of the tasks in results: as they are given, a file by its stem."""
    return {*tasks, *(Path(name).stem.removeprefix("builtin:") for name in tasks)}


def _task_hint(tasks: tuple[str, ...]) -> str:
    return f"unknown metric; data.evaluation.tasks has {', '.join(tasks) or 'none'}"

"""Comparability: whether runs were evaluated alike, what differs, and the refusal to mix them in one table.

A number depends on the text, the windows and the model it was measured on, and on the versions of the packages that
computed it; an accuracy also on the version of its task, its worked examples, number type and batch size.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import GROUPED_BY, Configuration, evaluation_setting
from nmlab.reports.analysis.metrics import is_of_task
from nmlab.reports.analysis.settings import value_text
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.trials import TrialRecord
from nmlab.reports.read.typed_text import tag_json
from nmlab.reports.values import counted
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.metrics import text_of

DECISIVE_VERSIONS = ("nmlab", "torch", "transformers")
DIGESTED = ("model", "data")
TASKS = " of the tasks"
OF_NEUTRAL = "the digest of the neutral text "
VALUES_IN_WORDS = 4


@dataclass(frozen=True, slots=True)
class EvaluatedRun:
    """One finished run and the facts of its evaluation that its numbers depend on, by readable name."""

    run_id: str
    study: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """A fact in which runs differ, with the runs of each value."""

    name: str
    runs: Mapping[str, Sequence[EvaluatedRun]]

    def __str__(self) -> str:
        """Return the fact, its values, and the runs that have each value."""
        parts = [f"{value} ({_where(own)})" for value, own in sorted(self.runs.items())]
        left = len(parts) - VALUES_IN_WORDS
        more = f" and {counted(left, noun='further value')}" if left > 0 else ""
        return f"{self.name} differs: {', '.join(parts[:VALUES_IN_WORDS])}{more}"


def evaluated_runs(
    item: Configuration, *, study: str = "", launches: Mapping[str, str] | None = None
) -> Iterator[EvaluatedRun]:
    """Yield every finished run of a configuration with the facts of its evaluation.

    It bears the name of its study, or of its launch where ``launches`` has it by run id.

    Raises:
        ReportError: a tag that should hold JSON does not.
    """
    own = (*GROUPED_BY, run_params.NEUTRAL)
    settings = {name: value_text(value) for name, value in item.settings.items() if name.startswith(own)}
    for trial in item.every_trial:
        if trial.is_finished:
            where = (launches or {}).get(trial.run_id, study)
            yield EvaluatedRun(trial.run_id, where, {**settings, **_recorded(trial)})


def differences(
    runs: Sequence[EvaluatedRun], *, distinguished_by: Collection[str] = (), metrics: Iterable[str] | None = None
) -> tuple[Difference, ...]:
    """Return the facts in which runs differ; a digest, version or task that a run did not record is no difference.

    Args:
        runs: the runs of one table.
        distinguished_by: settings shown by rows or columns, such as ``data.evaluation.source``.
        metrics: those that the table shows; facts of tasks and of neutral texts matter only where a measure of a task,
            or of the text, is among them. None for all.
    """
    names = {name for run in runs for name in run.facts} - _not_compared(distinguished_by)
    left_out = _of_other_metrics(names, None if metrics is None else tuple(metrics))
    shown = [name for name in sorted(names, key=_order) if name not in left_out]
    found = (Difference(name, _by_value(runs, name)) for name in shown)
    return tuple(item for item in found if len(item.runs) > 1)


def refuse_mixed(found: Sequence[Difference], *, mixed: bool) -> tuple[str, ...]:
    """Refuse runs that were not evaluated alike; with ``mixed``, return the differences as warnings instead.

    Raises:
        ReportError: naming the first difference, its values and runs.
    """
    if found and not mixed:
        rest = f" (and {counted(len(found) - 1, noun='further difference')})" if len(found) > 1 else ""
        raise ReportError(f"these runs do not belong in one table: {found[0]}{rest}; --mixed shows them anyway, marked")
    return tuple(f"Not evaluated alike: {item}." for item in found)


def differences_within(configurations: Iterable[Configuration]) -> tuple[Difference, ...]:
    """Return the differences between runs of one launch that its tables compare, group by group.

    Raises:
        ReportError: a tag that should hold JSON does not.
    """
    groups: dict[tuple[str, ...], list[EvaluatedRun]] = {}
    for item in configurations:
        groups.setdefault(evaluation_setting(item), []).extend(evaluated_runs(item))
    return tuple(found for runs in groups.values() for found in differences(runs))


def differences_between_launches(
    configurations: Iterable[Configuration], *, launches: Mapping[str, str]
) -> tuple[Difference, ...]:
    """Return the differences between the evaluations of pooled launches, whatever their runs are compared with.

    Args:
        configurations: of all of them.
        launches: the launch of each run.

    Raises:
        ReportError: a tag that should hold JSON does not.
    """
    return differences([run for item in configurations for run in evaluated_runs(item, launches=launches)])


def _recorded(trial: TrialRecord) -> dict[str, str]:
    """Return digests, versions and facts of tasks; an external model has other weights, so its digest is left out."""
    neutral = tag_json(trial.neutral_digests, tag=run_tags.NEUTRAL_DIGESTS, run_id=trial.run_id)
    known = {"model": trial.model_digest, "data": trial.data_digest}
    digests = {f"the digest of the {noun}": digest for noun, digest in known.items() if digest}
    if trial.is_external_model:
        digests.pop("the digest of the model", None)
    versions = tag_json(trial.versions, tag=run_tags.VERSIONS, run_id=trial.run_id)
    tasks = tag_json(trial.tasks, tag=run_tags.TASKS, run_id=trial.run_id)
    packages = {f"the version of {name}": str(versions[name]) for name in DECISIVE_VERSIONS if name in versions}
    digests |= {f"{OF_NEUTRAL}{text}": str(digest) for text, digest in neutral.items()}
    return {**digests, **packages, **_task_facts(tasks)}


def _task_facts(tasks: Mapping[str, object]) -> dict[str, str]:
    own = {f"the {name}{TASKS}": str(value) for name, value in tasks.items() if name != "tasks"}
    each = tasks.get("tasks")
    for task, facts in each.items() if isinstance(each, dict) else ():
        own |= {f"{name} of task {task}": str(value) for name, value in facts.items()}
    return own


def _is_of_tasks(name: str) -> bool:
    return name.endswith(TASKS) or " of task " in name


def _of_other_metrics(names: Collection[str], metrics: Sequence[str] | None) -> set[str]:
    """Return the facts of tasks and neutral texts that none of the shown metrics depends on."""
    if metrics is None:
        return set()
    texts = set(map(text_of, metrics))
    has_tasks = any(map(is_of_task, metrics))
    others = {name for name in names if (text := _neutral_text(name)) and text not in texts}
    return others | {name for name in names if _is_of_tasks(name) and not has_tasks}


def _neutral_text(name: str) -> str:
    """Return the neutral text that a fact is of; "" for any other fact."""
    if name.startswith(run_params.NEUTRAL):
        return name.split(".")[2]
    return name.removeprefix(OF_NEUTRAL) if name.startswith(OF_NEUTRAL) else ""


def _not_compared(distinguished_by: Collection[str]) -> set[str]:
    """Return the facts that are not compared: the given settings and the digests of what they name."""
    digests = {
        f"the digest of the {noun}"
        for noun in DIGESTED
        if any(name.startswith(noun + ".") for name in distinguished_by)
    }
    return {*distinguished_by, *digests}


def _by_value(runs: Sequence[EvaluatedRun], name: str) -> dict[str, list[EvaluatedRun]]:
    """Return the runs of each value; a missing setting counts as the value ``none``."""
    found: dict[str, list[EvaluatedRun]] = {}
    for run in runs:
        value = run.facts.get(name, "none" if name.startswith(GROUPED_BY) else None)
        if value is not None:
            found.setdefault(value, []).append(run)
    return found


def _order(name: str) -> tuple[int, str]:
    kinds = (name.startswith(GROUPED_BY), name.startswith("the digest"), name.startswith("the version"))
    return (kinds.index(True) if True in kinds else len(kinds), name)


def _where(runs: Sequence[EvaluatedRun]) -> str:
    studies = ", ".join(dict.fromkeys(run.study for run in runs if run.study))
    of = f" of {studies}" if studies else ""
    return f"run {runs[0].run_id}{of}" if len(runs) == 1 else f"{len(runs):,} runs{of}, first {runs[0].run_id}"


__all__ = [
    "Difference",
    "EvaluatedRun",
    "differences",
    "differences_between_launches",
    "differences_within",
    "evaluated_runs",
    "refuse_mixed",
]

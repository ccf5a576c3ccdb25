"""Zero-shot and few-shot accuracy by lm-evaluation-harness, with the outcome of every question kept.

Legend: Q questions of a task, C choices of a question.
"""

import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.run_artifacts import LOG_LIKELIHOODS, QUESTION, task_array
from nmlab.trials.contract.sections import EvaluationSpec
from nmlab.trials.contract.values import JsonMapping, JsonObject
from nmlab.trials.models import MaskedModel


@dataclass(frozen=True, eq=False)
class TaskResult:
    """One task: what was run, its measures over all questions, and each measure question by question [Q].

    ``questions`` holds the harness's hash of every question; paired tests join on it. ``log_likelihoods`` is [Q, C] in
    nats, NaN where a question has fewer choices, and empty where a task has none.
    """

    name: str
    version: str
    few_shot: int
    measures: Mapping[str, float]
    questions: NDArray[np.str_]
    outcomes: Mapping[str, NDArray[np.float64]]
    log_likelihoods: NDArray[np.float64]

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the arrays of the task for an npz file."""
        kept = {task_array(self.name, measure): values for measure, values in self.outcomes.items()}
        return {
            task_array(self.name, QUESTION): self.questions,
            **kept,
            task_array(self.name, LOG_LIKELIHOODS): self.log_likelihoods,
        }


@dataclass(frozen=True, eq=False)
class TaskResults:
    """All tasks of one evaluation and what a reader must know to compare them with others."""

    tasks: Sequence[TaskResult]
    groups: Mapping[str, Mapping[str, float]]
    facts: JsonMapping

    def metrics(self) -> dict[str, float]:
        """Return every measure as ``eval/<task>/<measure>``, those of groups of tasks too."""
        named = {**self.groups, **{task.name: task.measures for task in self.tasks}}
        return {f"eval/{task}/{name}": value for task, found in named.items() for name, value in found.items()}

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the outcome of every question of every task, for an npz file."""
        return {name: array for task in self.tasks for name, array in task.arrays().items()}

    def facts_line(self) -> str:
        """Return the facts as one line of JSON, equal for evaluations that may stand in one table."""
        return json.dumps(self.facts, sort_keys=True)


def check_tasks(spec: EvaluationSpec, *, tokenizer: PreTrainedTokenizerBase, longest: int | None) -> None:
    """Raise ``SourceError`` unless every task can be run here, on a model that reads at most ``longest`` tokens."""
    if not spec.tasks:
        return
    harness = _harness()
    loaded = harness.load(spec.tasks, few_shot=spec.few_shot)
    name, tokens = harness.longest_answer(loaded, tokenizer=tokenizer, limit=spec.questions)
    if longest is not None and tokens > longest:
        raise SourceError(f"task {name!r}: an answer has {tokens} tokens, the model reads at most {longest}")


def run_tasks(model: MaskedModel, spec: EvaluationSpec) -> TaskResults:
    """Run ``spec.tasks`` on a model with its applied masks; raises ``SourceError`` where they cannot be run."""
    harness = _harness()
    loaded = harness.load(spec.tasks, few_shot=spec.few_shot)
    found = harness.run(model, loaded, batch_size=spec.batch_size, limit=spec.questions)
    tasks = [_result(name, found) for name in loaded["tasks"]]
    groups = {name: _measures(found["results"][name]) for name in loaded["groups"] if name in found["results"]}
    settings = {
        "harness": harness.VERSION,
        "dtype": model.frozen.source.dtype,
        "device": model.frozen.device.type,
        "batch_size": spec.batch_size,
    }
    return TaskResults(tasks, groups, {**settings, "tasks": {task.name: _facts(task) for task in tasks}})


def _harness() -> ModuleType:
    if importlib.util.find_spec("lm_eval") is None or importlib.util.find_spec("accelerate") is None:
        raise SourceError("tasks need lm-evaluation-harness, which is not installed: pip install 'nmlab[tasks]'")
    from nmlab.trials.evaluation import harness

    return harness


def _facts(task: TaskResult) -> JsonObject:
    digest = hashlib.blake2b("".join(task.questions).encode(), digest_size=8).hexdigest()
    return {
        "version": task.version,
        "few_shot": task.few_shot,
        "questions": len(task.questions),
        "questions_digest": digest,
    }


def _result(name: str, found: JsonMapping) -> TaskResult:
    samples = sorted(found["samples"][name], key=lambda sample: (sample["filter"], sample["doc_id"]))
    first = [sample for sample in samples if sample["filter"] == samples[0]["filter"]]
    return TaskResult(
        name=name,
        version=str(found["versions"].get(name, "unversioned")),
        few_shot=int(found["n-shot"].get(name, 0)),
        measures=_measures(found["results"][name]),
        questions=np.array([sample["doc_hash"][:16] for sample in first], dtype=np.str_),
        outcomes=_outcomes(samples),
        log_likelihoods=_log_likelihoods(first),
    )


def _measures(results: JsonMapping) -> dict[str, float]:
    """Return the harness's ``acc,none`` as ``acc``, and ``exact_match,strict`` as ``exact_match.strict``."""
    measures = {}
    for key, value in results.items():
        measure, comma, filter_ = key.partition(",")
        if comma and not measure.endswith("_stderr") and isinstance(value, int | float):
            measures[_measure(measure, filter_)] = float(value)
    return measures


def _measure(name: str, filter_: str) -> str:
    return name if filter_ == "none" else f"{name}.{filter_}"


def _outcomes(samples: Sequence[JsonMapping]) -> dict[str, NDArray[np.float64]]:
    """Collect the measures that are one number a question; others, such as F1, exist only over all questions."""
    collected: dict[str, list[float]] = {}
    for sample in samples:
        for name in sample["metrics"]:
            if isinstance(sample[name], bool | int | float | np.number):
                collected.setdefault(_measure(name, sample["filter"]), []).append(float(sample[name]))
    return {name: np.array(values) for name, values in collected.items()}


def _log_likelihoods(samples: Sequence[JsonMapping]) -> NDArray[np.float64]:
    answers = [list(sample["filtered_resps"]) for sample in samples]
    if not all(isinstance(one, tuple | list) and len(one) == 2 for row in answers for one in row):
        return np.empty((len(samples), 0))
    table = np.full((len(samples), max(map(len, answers))), np.nan)
    for row, given in zip(table, answers, strict=True):
        row[: len(given)] = [log_likelihood for log_likelihood, _ in given]
    return table

"""Reads the outcomes of single questions from ``tasks.npz`` of a run; accuracies are compared on them.

The file holds, for each task, ``<task>/question`` (a hash of every question) and ``<task>/<measure>`` (its outcome on
each), in one order. Axis: Q questions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nmlab.reports.read.archives import read_archive
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.store import RunStore
from nmlab.trials.contract.run_artifacts import NOT_MEASURES, QUESTION, TASKS_FILE, task_array

MEANS = ("acc", "exact_match")  # over questions; other measures of the harness may be aggregated differently

Floats_Q: TypeAlias = npt.NDArray[np.float64]
Names_Q: TypeAlias = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True, eq=False)
class QuestionOutcomes:
    """One measure of one task: the questions, and the outcome of each."""

    question_Q: Names_Q
    outcome_Q: Floats_Q


def read_question_outcomes(store: RunStore, *, run_id: str) -> dict[str, QuestionOutcomes]:
    """Read the outcomes of a run's questions by metric, such as ``eval/quiz/acc``; none where it kept none.

    Raises:
        ReportError: the artifact is corrupted, lacks the questions of a task, or has outcomes of another number.
    """
    arrays = read_archive(store, run_id=run_id, name=TASKS_FILE)
    if arrays is None:
        return {}
    found = {}
    for name, outcome_Q in arrays.items():
        task, _, measure = name.rpartition("/")
        if measure not in NOT_MEASURES:
            found[f"eval/{name}"] = _outcomes_of_task(arrays, task, outcome_Q, where=f"{TASKS_FILE} of run {run_id}")
    return found


def is_mean(metric: str) -> bool:
    """Return whether a metric is the mean of its outcomes over questions."""
    return metric.rpartition("/")[2].startswith(MEANS)


def _outcomes_of_task(
    arrays: Mapping[str, npt.NDArray[np.generic]], task: str, outcome_Q: npt.NDArray[np.generic], *, where: str
) -> QuestionOutcomes:
    name = task_array(task, QUESTION)
    question_Q = arrays.get(name)
    if question_Q is None:
        raise ReportError(f"{where} has no array {name!r}; it holds {sorted(arrays)}")
    if question_Q.shape != outcome_Q.shape:
        sizes = f"{question_Q.shape} questions, {outcome_Q.shape} outcomes"
        raise ReportError(f"{where} has arrays of different length for task {task!r}: {sizes}")
    return QuestionOutcomes(question_Q.astype(np.str_), outcome_Q.astype(np.float64))

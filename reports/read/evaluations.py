"""Evaluations of runs, from their artifacts: losses by window, outcomes by question, and losses of drawn masks.

``tasks.npz`` holds, for each task, ``<task>/question`` (a hash of every question) and ``<task>/<measure>`` (its outcome
on each), in one order. Axes: W windows, Q questions, K masks, B minibatches.
"""

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.store import RunStore
from nmlab.trials.contract.metrics import VALIDATION, text_of
from nmlab.trials.contract.run_artifacts import (
    EVALUATION_FILE,
    INITIAL_VALIDATION_LOSS_SUM,
    INITIAL_WINDOW_LOSS_SUM,
    MASK_LOSS_ARRAYS,
    MASK_LOSSES_FILE,
    NEUTRAL_WINDOWS,
    NOT_MEASURES,
    QUESTION,
    TASKS_FILE,
    VALIDATION_ARRAYS,
    WINDOW_ARRAYS,
    neutral_array,
    task_array,
)

Floats: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]
Names: TypeAlias = npt.NDArray[np.str_]
Arrays: TypeAlias = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True, eq=False)
class QuestionOutcomes:
    """One measure of one task: the questions, and the outcome of each."""

    question_Q: Names
    outcome_Q: Floats


@dataclass(frozen=True, slots=True)
class TextLosses:
    """Losses on one text, with one entry for each of W windows: their sum in nats, and the tokens and words predicted.

    ``initial_window_loss_sum_W`` are those of the mask that learning started from, None where they were not measured.
    """

    window_loss_sum_W: Floats
    window_tokens_W: Counts
    window_words_W: Counts
    initial_window_loss_sum_W: Floats | None

    @property
    def token_perplexity(self) -> float:
        """exp of the mean loss per token."""
        return float(np.exp(self.window_loss_sum_W.sum() / self.window_tokens_W.sum()))

    @property
    def word_perplexity(self) -> float:
        """exp of the total loss per word."""
        return float(np.exp(self.window_loss_sum_W.sum() / self.window_words_W.sum()))


@dataclass(frozen=True, slots=True)
class RunEvaluation(TextLosses):
    """One run's evaluation: its losses on the evaluation text, and what else it was evaluated on.

    ``question_outcomes`` holds the outcomes of questions by metric (``eval/quiz/acc``), where tasks were run;
    ``validation`` the losses on the validation text, where the study has one; ``neutral`` those on neutral texts, by
    name.
    """

    question_outcomes: Mapping[str, QuestionOutcomes] = field(default_factory=dict)
    validation: TextLosses | None = None
    neutral: Mapping[str, TextLosses] = field(default_factory=dict)

    def of(self, metric: str) -> TextLosses | None:
        """Return the losses on the text that a perplexity is measured on; None where there are none."""
        if text := text_of(metric):
            return self.neutral.get(text)
        return self.validation if metric.startswith(VALIDATION) else self


@dataclass(frozen=True, slots=True, eq=False)
class MaskLosses:
    """Losses in nats per token on each minibatch: of the same masks, of the initial mask and of the dense model."""

    run_id: str
    loss_KB: Floats
    initial_B: Floats
    dense_B: Floats


def read_evaluation(store: RunStore, *, run_id: str) -> RunEvaluation | None:
    """Read the losses of one run by window and its outcomes by question; None where it kept no losses.

    Raises:
        ReportError: the artifact is corrupted or lacks an array, naming the run and the array.
    """
    arrays = read_archive(store, run_id=run_id, name=EVALUATION_FILE)
    if arrays is None:
        return None
    where = f"{EVALUATION_FILE} of run {run_id}"
    validation = None
    if any(name in arrays for name in VALIDATION_ARRAYS):
        validation = TextLosses(*_losses(arrays, VALIDATION_ARRAYS, initial=INITIAL_VALIDATION_LOSS_SUM, where=where))
    return RunEvaluation(
        *_losses(arrays, WINDOW_ARRAYS, initial=INITIAL_WINDOW_LOSS_SUM, where=where),
        question_outcomes=read_question_outcomes(store, run_id=run_id),
        validation=validation,
        neutral={text: _neutral_losses(arrays, text, where=where) for text in _neutral_texts(arrays)},
    )


def read_evaluations(store: RunStore, *, run_ids: Iterable[str]) -> dict[str, RunEvaluation | None]:
    """Read the per-window losses of some runs, None for those that kept none.

    Raises:
        ReportError: a corrupted artifact.
    """
    return {run_id: read_evaluation(store, run_id=run_id) for run_id in dict.fromkeys(run_ids)}


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


def read_mask_losses(store: RunStore, *, run_id: str) -> MaskLosses | None:
    """Read the losses of the masks that a run drew; None where it drew none.

    Raises:
        ReportError: the artifact is corrupted, or its arrays do not fit together.
    """
    arrays = read_archive(store, run_id=run_id, name=MASK_LOSSES_FILE)
    if arrays is None:
        return None
    absent = [name for name in MASK_LOSS_ARRAYS if name not in arrays]
    if absent:
        raise ReportError(f"{MASK_LOSSES_FILE} of run {run_id} has no array {absent[0]!r}; it holds {sorted(arrays)}")
    loss_KB, initial_B, dense_B = (arrays[name].astype(np.float64) for name in MASK_LOSS_ARRAYS)
    if loss_KB.ndim != 2 or not loss_KB.shape[1:] == initial_B.shape == dense_B.shape:
        shapes = {name: arrays[name].shape for name in MASK_LOSS_ARRAYS}
        raise ReportError(f"{MASK_LOSSES_FILE} of run {run_id} has arrays that do not fit together: {shapes}")
    return MaskLosses(run_id, loss_KB, initial_B, dense_B)


def read_archive(store: RunStore, *, run_id: str, name: str) -> dict[str, npt.NDArray[np.generic]] | None:
    """Read every array of one npz artifact of a run; None where the run has none of that name.

    Raises:
        ReportError: the artifact is corrupted, naming the run.
    """
    content = store.artifact(run_id, name=name)
    if content is None:
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {str(key): archive[key] for key in archive.files}
    except Exception as error:  # a damaged archive fails in as many ways as it has layers: zip, deflate, numpy's header
        raise ReportError(f"{name} of run {run_id} is corrupted: {error}") from error


def _neutral_texts(arrays: Arrays) -> list[str]:
    """Return the names of the neutral texts of which there is an array."""
    own = (name.split("/") for name in arrays if name.startswith(NEUTRAL_WINDOWS))
    return list(dict.fromkeys(parts[1] for parts in own))


def _neutral_losses(arrays: Arrays, text: str, *, where: str) -> TextLosses:
    loss, tokens, words = (neutral_array(text, name) for name in WINDOW_ARRAYS)
    initial = neutral_array(text, INITIAL_WINDOW_LOSS_SUM)
    return TextLosses(*_losses(arrays, (loss, tokens, words), initial=initial, where=where))


def _losses(
    arrays: Arrays, names: tuple[str, str, str], *, initial: str, where: str
) -> tuple[Floats, Counts, Counts, Floats | None]:
    """Return the losses, tokens and words by window of one text, and the losses of the initial mask."""
    absent = [name for name in names if name not in arrays]
    if absent:
        raise ReportError(f"{where} has no array {absent[0]!r}; it holds {sorted(arrays)}")
    sizes = {name: array.shape for name, array in arrays.items() if name in (*names, initial)}
    if len(set(sizes.values())) > 1:
        raise ReportError(f"{where} has arrays of different length: {sizes}")
    loss_W, tokens_W, words_W = (arrays[name] for name in names)
    initial_W = arrays.get(initial)
    return (
        loss_W.astype(np.float64),
        tokens_W.astype(np.int64),
        words_W.astype(np.int64),
        None if initial_W is None else initial_W.astype(np.float64),
    )


def _outcomes_of_task(arrays: Arrays, task: str, outcome_Q: npt.NDArray[np.generic], *, where: str) -> QuestionOutcomes:
    name = task_array(task, QUESTION)
    question_Q = arrays.get(name)
    if question_Q is None:
        raise ReportError(f"{where} has no array {name!r}; it holds {sorted(arrays)}")
    if question_Q.shape != outcome_Q.shape:
        sizes = f"{question_Q.shape} questions, {outcome_Q.shape} outcomes"
        raise ReportError(f"{where} has arrays of different length for task {task!r}: {sizes}")
    return QuestionOutcomes(question_Q.astype(np.str_), outcome_Q.astype(np.float64))

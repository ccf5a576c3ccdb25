"""Evaluations of runs by window and by question, and the check that recorded metrics agree with them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nmlab.reports.read.archives import read_archive
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.question_outcomes import QuestionOutcomes, is_mean, read_question_outcomes
from nmlab.reports.read.store import RunStore
from nmlab.reports.read.trials import TrialRecord
from nmlab.trials.contract.run_artifacts import (
    EVALUATION_FILE,
    INITIAL_WINDOW_LOSS_SUM,
    WINDOW_ARRAYS,
    WINDOW_LOSS_SUM,
    WINDOW_TOKENS,
    WINDOW_WORDS,
)

TOLERANCE = 1e-4  # relative; the losses are sums of float32 terms

Floats_W: TypeAlias = npt.NDArray[np.float64]
Counts_W: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One run's evaluation.

    The arrays have one entry for each of W windows: the loss sum in nats, and the tokens and words predicted.
    ``question_outcomes`` holds the outcomes of questions by metric (``eval/quiz/acc``), where tasks were run.
    """

    window_loss_sum_W: Floats_W
    window_tokens_W: Counts_W
    window_words_W: Counts_W
    initial_window_loss_sum_W: Floats_W | None
    question_outcomes: Mapping[str, QuestionOutcomes] = field(default_factory=dict)

    @property
    def token_perplexity(self) -> float:
        """exp of the mean loss per token."""
        return float(np.exp(self.window_loss_sum_W.sum() / self.window_tokens_W.sum()))

    @property
    def word_perplexity(self) -> float:
        """exp of the total loss per word."""
        return float(np.exp(self.window_loss_sum_W.sum() / self.window_words_W.sum()))


@dataclass(frozen=True, slots=True)
class EvaluationCheck:
    """The result of recomputing perplexities from windows and accuracies from questions, over some finished runs.

    ``missing`` runs kept nothing to recompute from; ``uncheckable`` runs recorded no metric that can be recomputed.
    """

    agreeing: tuple[str, ...]
    disagreeing: tuple[str, ...]
    missing: tuple[str, ...]
    windows: int
    tokens: int
    words: int
    is_same_text: bool
    uncheckable: tuple[str, ...] = ()

    @property
    def runs(self) -> int:
        """The number of runs considered."""
        return len(self.agreeing) + len(self.disagreeing) + len(self.missing) + len(self.uncheckable)


def read_evaluation(store: RunStore, *, run_id: str) -> Evaluation | None:
    """Read the losses of one run by window and its outcomes by question; None where it kept no losses.

    Raises:
        ReportError: the artifact is corrupted or lacks an array, naming the run and the array.
    """
    arrays = read_archive(store, run_id=run_id, name=EVALUATION_FILE)
    if arrays is None:
        return None
    absent = [name for name in WINDOW_ARRAYS if name not in arrays]
    if absent:
        raise ReportError(f"{EVALUATION_FILE} of run {run_id} has no array {absent[0]!r}; it holds {sorted(arrays)}")
    sizes = {name: array.shape for name, array in arrays.items() if name in (*WINDOW_ARRAYS, INITIAL_WINDOW_LOSS_SUM)}
    if len(set(sizes.values())) > 1:
        raise ReportError(f"{EVALUATION_FILE} of run {run_id} has arrays of different length: {sizes}")
    initial_W = arrays.get(INITIAL_WINDOW_LOSS_SUM)
    return Evaluation(
        window_loss_sum_W=arrays[WINDOW_LOSS_SUM].astype(np.float64),
        window_tokens_W=arrays[WINDOW_TOKENS].astype(np.int64),
        window_words_W=arrays[WINDOW_WORDS].astype(np.int64),
        initial_window_loss_sum_W=None if initial_W is None else initial_W.astype(np.float64),
        question_outcomes=read_question_outcomes(store, run_id=run_id),
    )


def read_evaluations(store: RunStore, *, run_ids: Iterable[str]) -> dict[str, Evaluation | None]:
    """Read the per-window losses of some runs, None for those that kept none.

    Raises:
        ReportError: a corrupted artifact.
    """
    return {run_id: read_evaluation(store, run_id=run_id) for run_id in dict.fromkeys(run_ids)}


def check_evaluations(
    found: Mapping[str, Evaluation | None], *, trials: Iterable[TrialRecord]
) -> EvaluationCheck | None:
    """Recompute the perplexities of some finished runs from their windows, and accuracies from their questions.

    Args:
        found: what :func:`read_evaluations` read of these runs.
        trials: these runs.

    Returns:
        The check, or None where no run kept its per-window losses.
    """
    records = {trial.run_id: trial for trial in trials}
    kept = {run_id: value for run_id in records if (value := found[run_id]) is not None}
    if not kept:
        return None
    agrees = {run_id: _agrees(value, records[run_id]) for run_id, value in kept.items()}
    values = list(kept.values())
    first = values[0]
    return EvaluationCheck(
        agreeing=tuple(run_id for run_id, follows in agrees.items() if follows is True),
        disagreeing=tuple(run_id for run_id, follows in agrees.items() if follows is False),
        uncheckable=tuple(run_id for run_id, follows in agrees.items() if follows is None),
        missing=tuple(run_id for run_id in records if run_id not in kept),
        windows=len(first.window_tokens_W),
        tokens=int(first.window_tokens_W.sum()),
        words=int(first.window_words_W.sum()),
        is_same_text=_same_text(values),
    )


def _agrees(evaluation: Evaluation, trial: TrialRecord) -> bool | None:
    """Return whether the recorded metrics agree with the recomputed ones; None where none can be recomputed.

    ``eval/perplexity`` is the token or the word perplexity.
    """
    both = (evaluation.token_perplexity, evaluation.word_perplexity)
    pairs = [
        ((evaluation.token_perplexity,), trial.metric("eval/token_perplexity")),
        ((evaluation.word_perplexity,), trial.metric("eval/word_perplexity")),
        (both, trial.metric("eval/perplexity")),
        *(
            ((float(question_outcomes.outcome_Q.mean()),), trial.metric(name))
            for name, question_outcomes in evaluation.question_outcomes.items()
            if is_mean(name)
        ),
    ]
    checked = [(recomputed, recorded) for recomputed, recorded in pairs if not math.isnan(recorded)]
    if not checked:
        return None
    return all(any(math.isclose(own, recorded, rel_tol=TOLERANCE) for own in found) for found, recorded in checked)


def _same_text(values: Sequence[Evaluation]) -> bool:
    first = values[0]
    return all(
        np.array_equal(first.window_tokens_W, other.window_tokens_W)
        and np.array_equal(first.window_words_W, other.window_words_W)
        for other in values[1:]
    )

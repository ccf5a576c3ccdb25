"""The check that recorded metrics agree with what runs kept: perplexities from windows, accuracies from questions."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nmlab.reports.read.evaluations import RunEvaluation, TextLosses
from nmlab.reports.read.trials import TrialRecord
from nmlab.trials.contract.metrics import EVAL, VALIDATION, neutral_prefix

TOLERANCE = 1e-4  # relative; the losses are sums of float32 terms
MEANS = ("acc", "exact_match")  # over questions; other measures of the harness may be aggregated differently


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


def check_evaluations(
    found: Mapping[str, RunEvaluation | None], *, trials: Iterable[TrialRecord]
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


def _agrees(evaluation: RunEvaluation, trial: TrialRecord) -> bool | None:
    """Return whether the recorded metrics agree with the recomputed ones; None where none can be recomputed.

    ``eval/perplexity`` is the token or the word perplexity, and ``perplexity`` of every other text too.
    """
    pairs = [
        *_perplexities(evaluation, trial, prefix=EVAL),
        *_perplexities(evaluation.validation, trial, prefix=VALIDATION),
        *(
            pair
            for text, losses in evaluation.neutral.items()
            for pair in _perplexities(losses, trial, prefix=neutral_prefix(text))
        ),
        *(
            ((float(question_outcomes.outcome_Q.mean()),), trial.metric(name))
            for name, question_outcomes in evaluation.question_outcomes.items()
            if _is_mean(name)
        ),
    ]
    checked = [(recomputed, recorded) for recomputed, recorded in pairs if not math.isnan(recorded)]
    if not checked:
        return None
    return all(any(math.isclose(own, recorded, rel_tol=TOLERANCE) for own in found) for found, recorded in checked)


def _perplexities(
    losses: TextLosses | None, trial: TrialRecord, *, prefix: str
) -> Iterator[tuple[tuple[float, ...], float]]:
    """Yield each recorded perplexity of a text behind the recomputed values that it may have."""
    if losses is not None:
        token, word = losses.token_perplexity, losses.word_perplexity
        found = {"token_perplexity": (token,), "word_perplexity": (word,), "perplexity": (token, word)}
        yield from ((values, trial.metric(prefix + name)) for name, values in found.items())


def _same_text(values: Sequence[RunEvaluation]) -> bool:
    first = values[0]
    return all(
        np.array_equal(first.window_tokens_W, other.window_tokens_W)
        and np.array_equal(first.window_words_W, other.window_words_W)
        for other in values[1:]
    )


def _is_mean(metric: str) -> bool:
    """Return whether a metric is the mean of its outcomes over questions."""
    return metric.rpartition("/")[2].startswith(MEANS)

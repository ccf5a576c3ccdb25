"""The measures of tasks, and in which direction each is better.

Names are those of lm-evaluation-harness 0.4; a measure that is not in the table has no direction.
"""

from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Whether lower or higher values of a number are better, or neither."""

    NONE = ""
    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of a task: its unit, which way it gets better, and whether it is compared on the log scale."""

    unit: str = ""
    direction: Direction = Direction.NONE
    is_log: bool = False


_SHARE = Measure("share", Direction.HIGHER)
_SCORE = Measure("", Direction.HIGHER)
_ERROR = Measure("", Direction.LOWER)
_PERPLEXITY = Measure("perplexity", Direction.LOWER, is_log=True)
_SHARES = (
    *("acc", "acc_norm", "acc_bytes", "acc_all", "accuracy", "partial_accuracy", "non_greedy_accuracy"),
    *("exact_match", "em", "prompt_level_strict_acc", "prompt_level_loose_acc"),
    *("inst_level_strict_acc", "inst_level_loose_acc", "pass_at_k", "pass@1", "numerical_match"),
)
_SCORES = (
    *("acc_mutual_info", "f1", "mcc", "likelihood", "bleu", "chrf", "chrf++", "bleurt", "bert_score"),
    *("rouge1", "rouge2", "rougeL", "rougeLsum", "rouge_score", "qa_f1_score", "code_sim_score"),
)
_ERRORS = ("brier_score", "ter", "wer", "cer", "loss", "nll")

MEASURES: dict[str, Measure] = {
    **dict.fromkeys(_SHARES, _SHARE),
    **dict.fromkeys(_SCORES, _SCORE),
    **dict.fromkeys(_ERRORS, _ERROR),
    **dict.fromkeys(("perplexity", "word_perplexity", "byte_perplexity"), _PERPLEXITY),
    "bits_per_byte": Measure("bits", Direction.LOWER),
}


def measure_of(name: str) -> Measure:
    """Return the measure of a name; a filter may follow behind a point, as in ``exact_match.strict``."""
    return MEASURES.get(name.partition(".")[0], Measure())

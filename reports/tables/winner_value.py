"""The winners of a report as plain values for programs."""

from collections.abc import Hashable, Mapping

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.pairwise import OtherConfiguration, Winner
from nmlab.reports.read.evaluations import Evaluation
from nmlab.reports.tables.winner import standing_text, verdict_text


def winner_values(
    winners: Mapping[Hashable, Winner], *, evaluations: Mapping[str, Evaluation]
) -> tuple[dict[str, object], ...]:
    """Return one mapping for each group of comparable masks: the best, whether it is a winner, and all others.

    Args:
        winners: the best of each group against all others of the search.
        evaluations: losses by window by run id, which say why something could not be tested.
    """
    return tuple(_value(winner, evaluations) for winner in winners.values())


def _value(winner: Winner, evaluations: Mapping[str, Evaluation]) -> dict[str, object]:
    runner_up = winner.runner_up
    return {
        "pattern": winner.best.pattern,
        "best": winner.best.key,
        "method": winner.best.method,
        "mean": _mean(winner.best),
        "is_claimed": winner.is_claimed,
        "runner_up": None if runner_up is None else runner_up.item.key,
        "undecided": [other.item.key for other in winner.undecided],
        "better_but_incomplete": [other.item.key for other in winner.better_but_incomplete],
        "against_all": [_other(other, evaluations) for other in winner.against_all],
    }


def _other(other: OtherConfiguration, evaluations: Mapping[str, Evaluation]) -> dict[str, object]:
    return {
        "configuration": other.item.key,
        "mean": _mean(other.item),
        "standing": standing_text(other),
        "p_adjusted": other.p_adjusted if other.is_tested else None,
        "verdict": verdict_text(other, evaluations=evaluations),
    }


def _mean(item: Configuration) -> float | None:
    return None if item.value is None else item.value.mean

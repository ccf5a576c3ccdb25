"""The tiles on what the study brought to compare with: its baselines, and the model without a mask."""

from collections.abc import Sequence

from nmlab.reports.analysis.dense_gap import DenseGap
from nmlab.reports.analysis.leader import Leader, Rival
from nmlab.reports.analysis.metrics import is_compared_by_ratio
from nmlab.reports.analysis.statements import p_value_text
from nmlab.reports.narrative.first_screen.differences import (
    SAME,
    Difference,
    difference_of,
    measured_in,
)
from nmlab.reports.narrative.first_screen.factor_words import joined
from nmlab.reports.narrative.first_screen.sentence import mean_of, rules_by_standing
from nmlab.reports.narrative.first_screen.tile import tile
from nmlab.reports.values import Cell, Row

MOST_NAMED = 4  # baselines of one kind
THEY_ARE = {
    "beats": "worse",
    "cannot be told from": "cannot tell",
    "could not be tested against": "not tested",
    "is worse than": "better",
}
"""What baselines are that the best stands to in this way."""


def baselines_tile(leader: Leader, *, question: str) -> Row:
    """Return how many baselines the best beats, and by how much each is worse or better; their means stand above.

    Args:
        leader: the best of the only group; it has baselines beside it.
        question: the question of the study; the baselines that it names stand first.
    """
    beaten, every = sum(rule.is_worse for rule in leader.rules), len(leader.rules)
    run_ids = (*(t.run_id for t in leader.shown.finished), *(run for rule in leader.rules for run in rule.run_ids))
    name = measured_in(leader.best.objective.reported, objective=leader.best.objective)
    cell = Cell(beaten, run_ids=tuple(dict.fromkeys(run_ids)), shown=_count(leader, beaten, every))
    return tile(f"The baselines against {leader.best.method}: {name}", cell, _each(leader, question))


def gap_tile(gap: DenseGap) -> Row:
    """Return the gap from the dense model to the best of the search, and the value of the dense model."""
    name = measured_in(gap.metric, objective=gap.mask.objective)
    cell = Cell(gap.value, run_ids=gap.run_ids, shown=_gap_text(gap))
    words = f"the model without a mask has {mean_of(gap.dense)}"
    return tile(f"Best {gap.mask.method} against dense: {name}", cell, words)


def _gap_text(gap: DenseGap) -> str:
    """Return the gap as people say it: ``3.5 times as high``, ``8.3% higher``."""
    difference = Difference(gap.metric, gap.value)
    if is_compared_by_ratio(gap.metric) and not difference.is_percent:
        return f"{gap.value:.2g} times as high"
    return difference.amount


def _count(leader: Leader, beaten: int, every: int) -> str:
    """Return ``beats 5 of 6``, ``beats wanda``, or that no baseline can be told from the best."""
    if not any(rule.is_worse or rule.is_better for rule in leader.rules):
        return f"{leader.best.method} cannot be told from {_any_of(leader)}"
    if every == 1:
        return f"{leader.best.method} {'beats' if beaten else 'is worse than'} {leader.rules[0].item.method}"
    many = "all" if beaten == every else "none of" if not beaten else f"{beaten} of"
    return f"{leader.best.method} beats {many} {every}"


def _any_of(leader: Leader) -> str:
    if len(leader.rules) == 1:
        return leader.rules[0].item.method
    return "either" if len(leader.rules) == 2 else f"any of {len(leader.rules)}"


def _each(leader: Leader, question: str) -> str:
    """Return by how much each baseline is worse or better, and how sure that is; the verdict has their means."""
    kinds = rules_by_standing(leader, question=question)
    texts = [f"{THEY_ARE[verb]}{_how_sure(rules)}: {_amounts(rules)}" for verb, rules in kinds.items() if rules]
    is_tested = any(rule.p_adjusted is not None for rule in leader.rules)
    return "; ".join([*texts, "p corrected after Holm"] if is_tested and len(leader.rules) > 1 else texts)


def _how_sure(rules: Sequence[Rival]) -> str:
    """Return the p-value of baselines of one kind, of several the largest where they are decided, else the smallest."""
    found = [rule.p_adjusted for rule in rules if rule.p_adjusted is not None]
    if not found:
        return ""
    is_decided = rules[0].is_better or rules[0].is_worse
    sign = "=" if len(found) == 1 else "≤" if is_decided else "≥"
    return f" ({p_value_text(max(found) if is_decided else min(found)).replace('=', sign)})"


def _amounts(rules: Sequence[Rival]) -> str:
    shown = [_amount(rule) for rule in rules[:MOST_NAMED]]
    left = len(rules) - MOST_NAMED
    return joined([*shown, f"{left} more"] if left > 0 else shown, "and")


def _amount(rule: Rival) -> str:
    """Return a baseline with its distance from the best: ``wanda (8.3% higher)``."""
    difference = difference_of(rule)
    text = "not compared" if difference is None else difference.amount
    return f"{rule.item.method} ({f'about {SAME}' if text == SAME else text})"

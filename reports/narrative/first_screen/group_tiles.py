"""The tiles of a study with several groups of masks that do not compare: one value for each."""

from collections.abc import Sequence

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.leader import Leader, Standing
from nmlab.reports.analysis.statements import p_value_text
from nmlab.reports.narrative.first_screen.differences import difference_of
from nmlab.reports.narrative.first_screen.sentence import named_leaders
from nmlab.reports.narrative.first_screen.tile import tile
from nmlab.reports.values import Cell, Row


def group_tiles(analysis: Analysis, leaders: Sequence[Leader]) -> list[Row]:
    """Return how many groups have a winner and how sure that is, and in how many the best beats all baselines."""
    won = [leader for leader in leaders if leader.standing is Standing.BEST]
    named = named_leaders(analysis, leaders)
    differences = [f"{name} {_short_difference(leader)}" for name, leader in named]
    value = Cell(len(won), run_ids=_runs(leaders), shown=f"{len(won)} of {len(leaders)}")
    shown = " · ".join(differences) or "no result"
    rows = [tile("Groups with a winner", value, f"runner-up against the best: {shown}"), _confidence(leaders, named)]
    return [*rows, _against_baselines(leaders, named)] if any(leader.rules for leader in leaders) else rows


def _confidence(leaders: Sequence[Leader], named: Sequence[tuple[str, Leader]]) -> Row:
    what = "Confidence within each group: the best and its runner-up"
    tested = [leader.runner_up.p_adjusted for leader in leaders if leader.runner_up and leader.runner_up.p_adjusted]
    largest = max(tested, default=None)
    shown = "" if largest is None else f"largest {p_value_text(largest)}"
    cell = Cell("not tested") if largest is None else Cell(largest, run_ids=_runs(leaders), shown=shown)
    p_values = [f"{name} {_short_p_value(leader)}" for name, leader in named]
    return tile(what, cell, f"runner-up against the best: {' · '.join(p_values) or 'no result'}")


def _against_baselines(leaders: Sequence[Leader], named: Sequence[tuple[str, Leader]]) -> Row:
    own = [leader for leader in leaders if leader.rules]
    every = [leader for leader in own if all(rule.is_worse for rule in leader.rules)]
    counts = [f"{name} {_beaten(leader)}" for name, leader in named if leader.rules]
    value = Cell(len(every), run_ids=_runs(own), shown=f"{len(every)} of {len(own)}")
    return tile("Groups whose best beats every baseline", value, f"baselines beaten: {' · '.join(counts)}")


def _beaten(leader: Leader) -> str:
    return f"{sum(rule.is_worse for rule in leader.rules)} of {len(leader.rules)}"


def _runs(leaders: Sequence[Leader]) -> tuple[str, ...]:
    return tuple(trial.run_id for leader in leaders for trial in leader.shown.finished)


def _short_difference(leader: Leader) -> str:
    difference = None if leader.runner_up is None else difference_of(leader.runner_up)
    return "–" if difference is None else difference.texts[0]


def _short_p_value(leader: Leader) -> str:
    rival = leader.runner_up
    return "not tested" if rival is None or rival.p_adjusted is None else p_value_text(rival.p_adjusted)

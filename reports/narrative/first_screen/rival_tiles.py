"""The tiles on the best against its runner-up, or against the best baseline where only one configuration was searched.

One has the difference with its interval, the other says how sure it is that the best is better. Both name the two
sides, so that a comparison of a method with itself is not taken for the verdict on it.
"""

from nmlab.reports.analysis.leader import Leader, Rival, Standing
from nmlab.reports.analysis.statements import p_value_text
from nmlab.reports.narrative.first_screen.differences import detectable_text, difference_of, measured_in
from nmlab.reports.narrative.first_screen.sentence import called, mean_of, others_text
from nmlab.reports.narrative.first_screen.tile import tile
from nmlab.reports.statistics import Noise
from nmlab.reports.values import Cell, Row

STANDINGS = {
    Standing.BEST: "better than {others}",
    Standing.NOT_SEPARABLE: "cannot be told from {any_other}",
    Standing.SOME_NOT_SEPARABLE: "cannot be told from {undecided} of the {count} others",
    Standing.ANOTHER: "another one is better",
    Standing.DOUBTED: "one that lacks runs looks better",
    Standing.INCOMPLETE: "no configuration has all its runs",
    Standing.UNTESTED: "not tested",
    Standing.ALONE: "nothing to compare with",
    Standing.BASELINE: "baselines only",
}


def rival_tiles(leader: Leader) -> list[Row]:
    """Return the two tiles of the only group."""
    return [_difference(leader), _confidence(leader)]


def _difference(leader: Leader) -> Row:
    rival, objective = _shown(leader), leader.best.objective
    what = f"{_title(leader)}: {measured_in(objective.reported, objective=objective)}"
    difference = None if rival is None else difference_of(rival)
    if rival is None or difference is None:
        reason = f"not compared: {rival.reason}" if rival is not None and rival.reason else "no other mask has a result"
        return tile(what, Cell("–"), reason)
    n = rival.difference.n if rival.difference is not None else None
    ends = (difference.value, difference.low, difference.high)
    cell = Cell(*ends, n=n, run_ids=_runs(rival, leader), shown=difference.bracketed)
    return tile(what, cell, f"{_named(rival, leader)}{_pairing(rival)}")


def _runs(rival: Rival, leader: Leader) -> tuple[str, ...]:
    return (*(trial.run_id for trial in leader.shown.finished), *rival.run_ids)


def _shown(leader: Leader) -> Rival | None:
    """Return the runner-up, or the best baseline where only one configuration was searched."""
    return leader.runner_up or next(iter(leader.rules), None)


def _is_to_baseline(leader: Leader) -> bool:
    return leader.runner_up is None and bool(leader.rules)


def _title(leader: Leader) -> str:
    if _is_to_baseline(leader):
        return f"Best baseline against {leader.best.method}"
    if leader.standing is Standing.BASELINE:
        return "Second-best baseline against the best"
    return f"Runner-up against {f'best {leader.best.method}' if len(leader.methods) == 1 else 'the best'}"


def _named(rival: Rival, leader: Leader) -> str:
    """Return the other side with its mean, where the verdict does not say that."""
    mean = "" if rival.item.is_baseline or rival.item.value is None else f", {mean_of(rival.item)}"
    return f"{_other(leader)}: {called(rival.item, leader)}{mean}"


def _other(leader: Leader) -> str:
    return "best baseline" if _is_to_baseline(leader) else "runner-up"


def _pairing(rival: Rival) -> str:
    """Return that a difference is the mean over pairs, which is not that of the two means, where it is one."""
    is_paired = rival.difference is not None and rival.difference.noise is Noise.TRAINING and not rival.item.is_baseline
    return "; difference paired by seed" if is_paired else ""


def _confidence(leader: Leader) -> Row:
    rival, what = _shown(leader), _question(leader)
    words = STANDINGS[leader.standing].format(
        others=others_text(leader),
        any_other=others_text(leader, is_any=True),
        count=leader.others,
        undecided=len(leader.undecided),
    )
    if _is_to_baseline(leader) and rival is not None:
        words = "better than the best baseline" if rival.is_worse else "not better than the best baseline"
    if rival is None or rival.p_adjusted is None:
        reason = rival.reason if rival is not None else ""
        return tile(what, Cell("not tested"), f"{words}{f': {reason}' if reason else ''}")
    answer = "behind" if rival.is_better else "ahead of" if rival.is_worse else "not told from"
    shown = f"{answer} {_other(leader)} ({p_value_text(rival.p_adjusted)})"
    cell = Cell(rival.p_adjusted, run_ids=_runs(rival, leader), shown=shown)
    return tile(what, cell, f"{_among(leader)}{words}{_test(rival, leader)}")


def _question(leader: Leader) -> str:
    """Return what is compared: never only "the best", which a reader takes for the method of the study."""
    if _is_to_baseline(leader):
        return f"Confidence: {leader.best.method} and the best baseline"
    if leader.standing is Standing.BASELINE:
        return "Confidence among the baselines: the best and the second-best"
    within = f"within {leader.best.method}" if len(leader.methods) == 1 else "within the search"
    return (
        f"Confidence {within}: the selected configuration" if leader.is_selected else f"Confidence {within}: the best"
    )


def _among(leader: Leader) -> str:
    """Return that the others are configurations of the same search; "" where they are baselines."""
    if _is_to_baseline(leader) or leader.standing is Standing.BASELINE:
        return ""
    return "configurations of the search among themselves, no baseline: "


def _test(rival: Rival, leader: Leader) -> str:
    tested = rival.difference
    if tested is None:
        return ""
    over = "the" if leader.shown.value is not None and tested.n == leader.shown.value.n else str(tested.n)
    text = f"; tested over {over} {'fresh ' if leader.is_fresh else ''}{tested.noise}"
    if not rival.is_worse and not rival.is_better and rival.detectable is not None:
        text += f"; smallest detectable {detectable_text(rival.detectable, metric=leader.best.objective.reported)}"
    return text

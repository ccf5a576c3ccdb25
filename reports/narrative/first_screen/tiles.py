"""The four tiles of the first screen as a table: difference to the runner-up, confidence, cost and completeness.

A table, so that every format holds the same values, and every number names its runs.
"""

from collections.abc import Sequence

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.leader import Leader, Rival, Standing
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.run_counts import RunCounts, run_counts
from nmlab.reports.analysis.statements import mean_text, p_value_text
from nmlab.reports.analysis.totals import SECONDS, Total, total_of, total_text
from nmlab.reports.narrative.first_screen.differences import detectable_text, difference_of
from nmlab.reports.narrative.first_screen.sentence import called, duration_text, named_leaders, others_text
from nmlab.reports.values import Cell, Column, ReportTable, Row, Style, counted, number_text

KEY, TITLE = "verdict", "The verdict in numbers"
WHAT = Column("what", "what")
VALUE = Column("value", "value")
DETAIL = Column("detail", "detail", is_prose=True)
CONFIDENCE, COST, COMPLETENESS = "Confidence: is the best better?", "Total cost", "Completeness"
STANDINGS = {
    Standing.BEST: "better than {others}",
    Standing.NOT_SEPARABLE: "cannot be told from {others}",
    Standing.SOME_NOT_SEPARABLE: "cannot be told from {undecided} of {count} others",
    Standing.ANOTHER: "another one is better",
    Standing.DOUBTED: "one that lacks runs looks better",
    Standing.INCOMPLETE: "no configuration has all its runs",
    Standing.UNTESTED: "not tested",
    Standing.ALONE: "nothing to compare with",
    Standing.BASELINE: "baselines only",
}


def tiles_table(analysis: Analysis, *, leaders: Sequence[Leader]) -> ReportTable:
    """Return the four tiles as the rows of a table.

    Args:
        analysis: one launch, analysed.
        leaders: the leader of each group of comparable masks.
    """
    is_one = len(leaders) == 1
    first = (_difference(leaders[0]), _confidence(leaders[0])) if is_one else _of_groups(analysis, leaders)
    rows = (*first, _cost(analysis, leaders), _completeness(analysis))
    caption = "The numbers of the verdict. An interval is of this pair alone; p-values are corrected as the tables say."
    return ReportTable(KEY, TITLE, caption, (WHAT, VALUE, DETAIL), rows)


def _row(what: str, value: Cell, detail: str) -> Row:
    return Row((Cell(what), value, Cell(detail)), run_ids=value.run_ids, kind="tile")


def _difference(leader: Leader) -> Row:
    rival, name = _shown_rival(leader), plain_name(leader.best.objective.reported)
    who = "Best baseline" if _is_to_baseline(leader) else "Runner-up"
    what = f"{who} against the best: {name}"
    difference = None if rival is None else difference_of(rival)
    if rival is None or difference is None:
        reason = f"not compared: {rival.reason}" if rival is not None and rival.reason else "no other mask has a result"
        return _row(what, Cell("–"), reason)
    run_ids = (*(trial.run_id for trial in leader.shown.finished), *rival.run_ids)
    cell = Cell(
        difference.value,
        low=difference.low,
        high=difference.high,
        n=rival.difference.n if rival.difference is not None else None,
        run_ids=run_ids,
        shown=difference.bracketed,
    )
    return _row(what, cell, f"{_means(rival, leader)}; {who.lower()}: {called(rival.item, leader)}")


def _shown_rival(leader: Leader) -> Rival | None:
    """Return the runner-up, or the best baseline where only one configuration was searched."""
    return leader.runner_up or next(iter(leader.rules), None)


def _is_to_baseline(leader: Leader) -> bool:
    return leader.runner_up is None and bool(leader.rules)


def _means(rival: Rival, leader: Leader) -> str:
    own, other = leader.shown, rival.item
    texts = [mean_text(item).partition(" (")[0] if item.value is not None else "–" for item in (other, own)]
    return " against ".join(texts)


def _confidence(leader: Leader) -> Row:
    rival = _shown_rival(leader)
    others, undecided = others_text(leader), len(leader.undecided)
    words = STANDINGS[leader.standing].format(others=others, count=leader.others, undecided=undecided)
    if _is_to_baseline(leader) and rival is not None:
        words = "better than the best baseline" if rival.is_worse else "not better than the best baseline"
    if rival is None or rival.p_adjusted is None:
        reason = rival.reason if rival is not None else ""
        return _row(CONFIDENCE, Cell("not tested"), f"{words}{f': {reason}' if reason else ''}")
    run_ids = (*(trial.run_id for trial in leader.shown.finished), *rival.run_ids)
    answer = "no" if rival.is_better else "yes" if rival.is_worse else "cannot tell"
    shown = f"{answer}, {p_value_text(rival.p_adjusted)}"
    return _row(CONFIDENCE, Cell(rival.p_adjusted, run_ids=run_ids, shown=shown), f"{words}{_test(rival, leader)}")


def _test(rival: Rival, leader: Leader) -> str:
    tested = rival.difference
    if tested is None:
        return ""
    text = f"; tested over {tested.n} {'fresh ' if leader.is_fresh else ''}{tested.noise}"
    if not rival.is_worse and not rival.is_better and rival.detectable is not None:
        text += f"; smallest detectable {detectable_text(rival.detectable, metric=leader.best.objective.reported)}"
    return text


def _cost(analysis: Analysis, leaders: Sequence[Leader]) -> Row:
    total = total_of(analysis.configurations)
    run_ids = _runs_of(analysis)
    if not total.known:
        return _row(COST, Cell("unknown"), "no run recorded its cost")
    cell = Cell(total.value, run_ids=run_ids, shown=duration_text(total.value))
    return _row(COST, cell, _cost_detail(leaders, total))


def _cost_detail(leaders: Sequence[Leader], total: Total) -> str:
    own = leaders[0].shown.estimate(SECONDS) if len(leaders) == 1 else None
    one = f"; one run of the best takes {number_text(own.mean, style=Style.SECONDS)} s" if own is not None else ""
    return f"{total_text(total)} of computing in {counted(total.runs, noun='run')}{one}"


def _completeness(analysis: Analysis) -> Row:
    counts = run_counts(analysis.runs)
    shown = f"all {counts.whole} runs" if counts.ended == counts.whole else f"{counts.ended} of {counts.whole} runs"
    return _row(COMPLETENESS, Cell(counts.ended, run_ids=_runs_of(analysis), shown=shown), _outcomes(counts))


def _outcomes(counts: RunCounts) -> str:
    """Return how the runs ended: ``51 finished, 2 diverged; 20 on fresh seeds``."""
    found = [f"{count} {name}" for name, count in counts.by_outcome.items()]
    if counts.whole > counts.recorded:
        found.append(f"{counts.whole - counts.recorded} not begun")
    return ", ".join(found) + (f"; {counts.fresh} of them on fresh seeds" if counts.fresh else "")


def _runs_of(analysis: Analysis) -> tuple[str, ...]:
    return tuple(trial.run_id for trial in analysis.runs.trials if not trial.is_external_model)


def _of_groups(analysis: Analysis, leaders: Sequence[Leader]) -> tuple[Row, Row]:
    """Return the first two tiles of several groups: how many have a winner, and the p-value of each."""
    won = [leader for leader in leaders if leader.standing is Standing.BEST]
    named = named_leaders(analysis, leaders)
    run_ids = tuple(trial.run_id for leader in leaders for trial in leader.shown.finished)
    differences = [f"{name} {_short_difference(leader)}" for name, leader in named]
    value = Cell(len(won), run_ids=run_ids, shown=f"{len(won)} of {len(leaders)}")
    tested = [leader.runner_up.p_adjusted for leader in leaders if leader.runner_up and leader.runner_up.p_adjusted]
    largest = max(tested, default=None)
    shown = "" if largest is None else f"largest {p_value_text(largest)}"
    confidence = Cell("not tested") if largest is None else Cell(largest, run_ids=run_ids, shown=shown)
    p_values = [f"{name} {_short_p_value(leader)}" for name, leader in named]
    return (
        _row("Groups with a winner", value, f"runner-up against the best: {' · '.join(differences) or 'no result'}"),
        _row(CONFIDENCE, confidence, f"runner-up against the best: {' · '.join(p_values) or 'no result'}"),
    )


def _short_difference(leader: Leader) -> str:
    difference = None if leader.runner_up is None else difference_of(leader.runner_up)
    return "–" if difference is None else difference.texts[0]


def _short_p_value(leader: Leader) -> str:
    rival = leader.runner_up
    return "not tested" if rival is None or rival.p_adjusted is None else p_value_text(rival.p_adjusted)

"""The four tiles of the first screen as a table: two on what the study asks, the total cost, and completeness.

Of a study of a few settings the first two are about their effects, else about the best and its runner-up.

A table, so that every format holds the same values, and every number names its runs.
"""

from collections.abc import Sequence

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.configurations import searched
from nmlab.reports.analysis.leader import Leader, Rival, Standing
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.run_counts import RunCounts, run_counts
from nmlab.reports.analysis.space.effects import Basis, SettingEffects, SettingTest
from nmlab.reports.analysis.statements import p_value_text
from nmlab.reports.analysis.totals import SECONDS, Total, total_of, total_text
from nmlab.reports.narrative.first_screen.differences import detectable_text, difference_of
from nmlab.reports.narrative.first_screen.factor_words import (
    contrast_text,
    effect_of,
    factors_of,
    measured_text,
    missed_text,
)
from nmlab.reports.narrative.first_screen.sentence import called, duration_text, mean_of, named_leaders, others_text
from nmlab.reports.statistics import Noise
from nmlab.reports.values import Cell, Column, ReportTable, Row, Style, counted, number_text

KEY, TITLE = "verdict", "The verdict in numbers"
WHAT = Column("what", "what")
VALUE = Column("value", "value")
DETAIL = Column("detail", "detail", is_prose=True)
CONFIDENCE = "Confidence: is the best better than {whom}?"
COST, COMPLETENESS = "Total cost", "Completeness"
MOST_EFFECTS = 2  # that have a tile each
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


def tiles_table(analysis: Analysis, *, leaders: Sequence[Leader]) -> ReportTable:
    """Return the four tiles as the rows of a table.

    Args:
        analysis: one launch, analysed.
        leaders: the leader of each group of comparable masks.
    """
    is_one = len(leaders) == 1
    factors = factors_of(analysis) if is_one else None
    if factors is not None:
        first = _of_factors(factors)
    else:
        first = (_difference(leaders[0]), _confidence(leaders[0])) if is_one else _of_groups(analysis, leaders)
    rows = (*first, _cost(analysis, leaders), _completeness(analysis))
    caption = "The numbers of the verdict. An interval is of this pair alone; p-values are corrected as the tables say."
    return ReportTable(KEY, TITLE, caption, (WHAT, VALUE, DETAIL), rows)


def _row(what: str, value: Cell, detail: str) -> Row:
    return Row((Cell(what), value, Cell(detail)), run_ids=value.run_ids, kind="tile")


def _of_factors(factors: SettingEffects) -> tuple[Row, Row]:
    """Return two tiles: the effects that are best supported, or that of the only setting and the test of it."""
    if len(factors.tests) > 1:
        first, second = (_effect(factors, test) for test in with_tiles(factors))
        return first, second
    return _effect(factors, factors.tests[0]), _confidence_of(factors, factors.tests[0])


def with_tiles(factors: SettingEffects) -> tuple[SettingTest, ...]:
    """Return the effects that have a tile: those with the smallest p-values, in the order of the settings."""
    order = sorted(factors.tests, key=lambda test: 1.0 if test.p_adjusted is None else test.p_adjusted)
    return tuple(test for test in factors.tests if test in order[:MOST_EFFECTS])


def _effect(factors: SettingEffects, test: SettingTest) -> Row:
    """Return an effect with its interval; with several settings its answer stands in the detail."""
    what = f"Effect of {test.name} on {measured_text(factors)}"
    detail = contrast_text(factors, test)
    if len(factors.tests) > 1:
        detail = f"{_answer(test)}; {detail}"
    stated, difference = factors.stated(test), effect_of(factors, test)
    if stated is None or difference is None:
        return _row(what, Cell("–"), detail)
    ends, run_ids = (stated.difference, stated.low, stated.high), factors.run_ids
    return _row(what, Cell(*ends, n=_replicates(factors), run_ids=run_ids, shown=difference.bracketed), detail)


def _confidence_of(factors: SettingEffects, test: SettingTest) -> Row:
    """Return whether the only setting makes a difference."""
    detail = f"tested over {_replicates(factors)} {factors.basis}"
    missed = missed_text(factors)
    cell = Cell(test.p_adjusted, run_ids=factors.run_ids, shown=_answer(test))
    return _row(f"Confidence: does {test.name} matter?", cell, f"{detail}; {missed}" if missed else detail)


def _answer(test: SettingTest) -> str:
    if test.p_adjusted is None:
        return "not tested"
    return f"{'yes' if test.is_seen else 'cannot tell'} ({p_value_text(test.p_adjusted)})"


def _replicates(factors: SettingEffects) -> int:
    return factors.seeds if factors.basis is Basis.SEEDS else len(factors.items)


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
    return _row(what, cell, f"{_means(rival, leader)}{_pairing(rival)}; {who.lower()}: {called(rival.item, leader)}")


def _shown_rival(leader: Leader) -> Rival | None:
    """Return the runner-up, or the best baseline where only one configuration was searched."""
    return leader.runner_up or next(iter(leader.rules), None)


def _is_to_baseline(leader: Leader) -> bool:
    return leader.runner_up is None and bool(leader.rules)


def _means(rival: Rival, leader: Leader) -> str:
    own, other = leader.shown, rival.item
    return " against ".join(mean_of(item) if item.value is not None else "–" for item in (other, own))


def _pairing(rival: Rival) -> str:
    """Return that a difference is the mean over pairs, which is not that of the two means, where it is one."""
    is_paired = rival.difference is not None and rival.difference.noise is Noise.TRAINING and not rival.item.is_baseline
    return "; difference paired by seed" if is_paired else ""


def _confidence(leader: Leader) -> Row:
    rival = _shown_rival(leader)
    what = CONFIDENCE.format(whom="the best baseline" if _is_to_baseline(leader) else "its runner-up")
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
        return _row(what, Cell("not tested"), f"{words}{f': {reason}' if reason else ''}")
    run_ids = (*(trial.run_id for trial in leader.shown.finished), *rival.run_ids)
    answer = "no" if rival.is_better else "yes" if rival.is_worse else "cannot tell"
    shown = f"{answer} ({p_value_text(rival.p_adjusted)})"
    return _row(what, Cell(rival.p_adjusted, run_ids=run_ids, shown=shown), f"{words}{_test(rival, leader)}")


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
    shown = f"{counts.ended} of {counted(counts.whole, noun='run')} ended"
    early = sum(bool(item.pruned) for item in searched(analysis.configurations))
    return _row(COMPLETENESS, Cell(counts.ended, run_ids=_runs_of(analysis), shown=shown), _outcomes(counts, early))


def _outcomes(counts: RunCounts, early: int) -> str:
    """Return how the runs ended: ``33 finished, 7 stopped early (of 5 configurations); 6 of the 40 on fresh seeds``."""
    of_how_many = {"stopped early": f" (of {counted(early, noun='configuration')})"}
    found = [f"{count} {name}{of_how_many.get(name, '')}" for name, count in counts.by_outcome.items()]
    if counts.whole > counts.recorded:
        found.append(f"{counts.whole - counts.recorded} not begun")
    return ", ".join(found) + (f"; {counts.fresh} of the {counts.whole} on fresh seeds" if counts.fresh else "")


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
        _row(
            CONFIDENCE.format(whom="its runner-up"),
            confidence,
            f"runner-up against the best: {' · '.join(p_values) or 'no result'}",
        ),
    )


def _short_difference(leader: Leader) -> str:
    difference = None if leader.runner_up is None else difference_of(leader.runner_up)
    return "–" if difference is None else difference.texts[0]


def _short_p_value(leader: Leader) -> str:
    rival = leader.runner_up
    return "not tested" if rival is None or rival.p_adjusted is None else p_value_text(rival.p_adjusted)

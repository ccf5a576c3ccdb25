"""The tiles of the first screen as a table, so that every format holds the same values and every number names its runs.

First what the study asks: the effects of its few settings, or the best against its runner-up; then the best against the
baselines and the dense model of the study; last the cost of a run and completeness. They do not repeat what the verdict
says, such as the total cost.
"""

from collections.abc import Sequence

from nmlab.reports.analysis.analysis import Analysis
from nmlab.reports.analysis.configurations import searched
from nmlab.reports.analysis.dense_gap import dense_gap_of
from nmlab.reports.analysis.leader import Leader, Standing
from nmlab.reports.analysis.run_counts import RunCounts, run_counts
from nmlab.reports.analysis.totals import SECONDS, gaps_text, total_of
from nmlab.reports.narrative.first_screen.factor_tiles import factor_tiles
from nmlab.reports.narrative.first_screen.factor_words import factors_of
from nmlab.reports.narrative.first_screen.group_tiles import group_tiles
from nmlab.reports.narrative.first_screen.reference_tiles import baselines_tile, gap_tile
from nmlab.reports.narrative.first_screen.rival_tiles import rival_tiles
from nmlab.reports.narrative.first_screen.sentence import duration_text
from nmlab.reports.narrative.first_screen.tile import tile
from nmlab.reports.values import Cell, Column, ReportTable, Row, counted
from nmlab.trials.contract import run_params

KEY, TITLE = "verdict", "The verdict in numbers"
WHAT = Column("what", "what")
VALUE = Column("value", "value")
DETAIL = Column("detail", "detail", is_prose=True)
COST, COMPLETENESS = "Cost of a run", "Completeness"


def tiles_table(analysis: Analysis, *, leaders: Sequence[Leader]) -> ReportTable:
    """Return the tiles as the rows of a table: four to six.

    Args:
        analysis: one launch, analysed.
        leaders: the leader of each group of comparable masks.
    """
    first = _of_leader(analysis, leaders[0]) if len(leaders) == 1 else group_tiles(analysis, leaders)
    rows = (*first, _cost(analysis, leaders), _completeness(analysis))
    caption = "The numbers of the verdict. An interval is of this pair alone; p-values are corrected as the tables say."
    return ReportTable(KEY, TITLE, caption, (WHAT, VALUE, DETAIL), rows)


def _of_leader(analysis: Analysis, leader: Leader) -> list[Row]:
    """Return the tiles on what the study asks, and on its own baselines."""
    factors, gap = factors_of(analysis), dense_gap_of(leader, configurations=analysis.configurations)
    question = analysis.runs.launch.params.get(run_params.ANSWERS, "")
    asked = rival_tiles(leader) if factors is None else factor_tiles(analysis, factors)
    has_rules = bool(leader.rules) and leader.standing is not Standing.BASELINE
    against = [baselines_tile(leader, question=question)] if has_rules else []
    # A study of settings asks about these first, any other one about the method against its baselines.
    rows = [*against, *asked] if factors is None else [*asked, *against]
    return [*rows, gap_tile(gap)] if gap is not None else rows


def _cost(analysis: Analysis, leaders: Sequence[Leader]) -> Row:
    """Return what one run takes: of the best where there is one, and on average over all runs."""
    total = total_of(analysis.configurations)
    if not total.known:
        return tile(COST, Cell("unknown"), "no run recorded its cost")
    own = leaders[0].shown.estimate(SECONDS) if len(leaders) == 1 else None
    mean, gaps = total.value / total.known, gaps_text(total)
    average = f"{duration_text(mean)} on average over all runs{f', {gaps}' if gaps else ''}"
    if own is None:
        return tile(COST, Cell(mean, run_ids=_runs_of(analysis), shown=f"{duration_text(mean)} on average"), gaps)
    shown = f"{duration_text(own.mean)} of the best"
    return tile(COST, Cell(own.mean, run_ids=_runs_of(analysis), shown=shown), average)


def _completeness(analysis: Analysis) -> Row:
    """Return how the runs ended; the verdict says how many there are."""
    counts = run_counts(analysis.runs)
    early = sum(bool(item.pruned) for item in searched(analysis.configurations))
    cell = Cell(counts.ended, run_ids=_runs_of(analysis), shown=_outcomes(counts, early))
    return tile(COMPLETENESS, cell, f"{counts.fresh} of them on fresh seeds" if counts.fresh else "")


def _outcomes(counts: RunCounts, early: int) -> str:
    """Return how the runs ended: ``33 finished, 7 stopped early (of 5 configurations)``, ``all finished``."""
    if counts.finished == counts.whole:
        return "all finished"
    of_how_many = {"stopped early": f" (of {counted(early, noun='configuration')})"}
    found = [f"{count} {name}{of_how_many.get(name, '')}" for name, count in counts.by_outcome.items()]
    if counts.whole > counts.recorded:
        found.append(f"{counts.whole - counts.recorded} not begun")
    return ", ".join(found)


def _runs_of(analysis: Analysis) -> tuple[str, ...]:
    return tuple(trial.run_id for trial in analysis.runs.trials if not trial.is_external_model)

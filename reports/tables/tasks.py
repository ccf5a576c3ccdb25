"""Accuracy over questions: each mask of the summary against the best of its group, task by task."""

from collections.abc import Hashable, Mapping, Sequence

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.pairwise import (
    PairwiseComparison,
    TaskComparison,
    reasons_text,
    task_comparisons,
    untested_reason,
)
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.statistics import Noise
from nmlab.reports.tables.best_versus_rest import BEST, NOISE, OTHER, VERDICT, interval_cell, noise_text, verdict_text
from nmlab.reports.tables.cells import PATTERN, has_several
from nmlab.reports.values import Cell, Column, Interval, ReportTable, Row, Style, counted, without_empty_columns

PairwiseComparisons = Mapping[str, Mapping[Hashable, Sequence[PairwiseComparison]]]

KEY, TITLE = "tasks", "Accuracy, question by question"
TASK = Column("task", "task")
DIVIDED = Column(
    "divided", "better : worse", help="questions on which the mask did better than the best, and on which worse"
)
QUESTIONS = Column(
    "questions",
    "difference, over questions",
    Style.SIGNED4,
    interval=Interval.BRACKET,
    help="mask minus best; 95% BCa interval",
)
SEEDS = Column(
    "seeds",
    "difference, over seeds",
    Style.SIGNED4,
    interval=Interval.BRACKET,
    help="mask minus best; 95% t-interval",
)
P_QUESTIONS = Column(
    "p_questions", "p of these masks", Style.P_VALUE, help="over questions, adjusted over the table; no training noise"
)
P_DECISIVE = Column("p_adjusted", "adjusted p", Style.P_VALUE, help="of the deciding test, adjusted over the table")
DETECTABLE = Column(
    "detectable",
    "detectable",
    Style.FIXED4,
    help="the smallest true difference that the deciding test, else that over questions, detects in 80% of cases",
)
COLUMNS = (TASK, OTHER, PATTERN, BEST, DIVIDED, QUESTIONS, P_QUESTIONS, SEEDS, NOISE, P_DECISIVE, DETECTABLE, VERDICT)


def tasks_table(
    configurations: Sequence[Configuration],
    *,
    names: Mapping[tuple[str, bool], str],
    comparisons: PairwiseComparisons,
    evaluations: Mapping[str, RunEvaluation],
) -> ReportTable:
    """Return one row for each measure of a task and each mask that is compared with the best of its group.

    Args:
        configurations: all configurations, best first.
        names: what the summary calls each side.
        comparisons: of every metric; p-values adjusted over all measures of tasks.
        evaluations: outcomes of questions by run id.
    """
    found = task_comparisons(comparisons, evaluations=evaluations)
    several = has_several(configurations, attribute="pattern")
    rows = tuple(_row(item, names, evaluations, has_pattern=several) for item in found)
    caption = (
        "Each mask of the summary against the best mask in the task. Tests over questions tell whether these masks "
        "differ; tests over seeds tell whether the methods differ. The two are never mixed."
    )
    return without_empty_columns(
        ReportTable(KEY, TITLE, caption, COLUMNS, rows, notes=_notes([item.comparison for item in found], evaluations))
    )


def _row(
    found: TaskComparison,
    names: Mapping[tuple[str, bool], str],
    evaluations: Mapping[str, RunEvaluation],
    *,
    has_pattern: bool,
) -> Row:
    item, divided = found.comparison, found.divided
    own, best = item.side, item.reference
    run_ids = (*own.run_ids, *best.run_ids)
    cells = (
        Cell(plain_name(item.metric)),
        Cell(names[own.item.key, own.is_initial], run_ids=own.run_ids),
        Cell(own.item.pattern if has_pattern else ""),
        Cell(names[best.item.key, best.is_initial], run_ids=best.run_ids),
        Cell(f"{divided[0]} : {divided[1]}" if divided else None, run_ids=run_ids),
        interval_cell(item.evaluation, run_ids),
        Cell(found.p_questions, run_ids=run_ids),
        interval_cell(item.training, run_ids),
        Cell(noise_text(item.decisive)),
        Cell(item.p_adjusted, run_ids=run_ids),
        Cell(found.stated.detectable if found.stated else None, run_ids=run_ids),
        Cell(verdict_text(item, evaluations=evaluations)),
    )
    return Row(cells, run_ids=run_ids, kind="searched")


def _notes(found: Sequence[PairwiseComparison], evaluations: Mapping[str, RunEvaluation]) -> tuple[str, ...]:
    by_questions = [item for item in found if item.evaluation is not None]
    notes = []
    if by_questions:
        notes.append(
            f"{counted(len(by_questions), noun='comparison')} over questions: McNemar's exact test where each side is "
            "one run, else a sign-flip test of the questions' mean differences; adjusted after Benjamini and Hochberg."
        )
    if any(item.evaluation is not None and item.decisive is None for item in found):
        notes.append("Not tested: a mask was trained with one seed, and questions do not show how another seed ends.")
    elif reasons := reasons_text(untested_reason(item, evaluations=evaluations) for item in found):
        notes.append(f"Not tested: {reasons}.")
    if any(item.decisive is not None and item.decisive.noise is Noise.TRAINING for item in found):
        notes.append("Where a mask was trained with several seeds, the t-test over seeds decides.")
    if any(item.is_separated is False for item in found):
        notes.append("Not separable does not prove equality: a difference below the detectable one is often missed.")
    return tuple(notes)

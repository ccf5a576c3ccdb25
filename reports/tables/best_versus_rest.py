"""The table "Is the best really better?": each mask of the summary tested against the best of its group, corrected."""

from collections.abc import Hashable, Mapping, Sequence

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.metrics import (
    difference_style,
    is_compared_by_ratio,
    is_counted,
    is_of_task,
    plain_name,
    style_of,
)
from nmlab.reports.analysis.pairwise import PairwiseComparison, Side, reasons_text, untested_reason
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.statistics import Noise, SideComparison
from nmlab.reports.tables.cells import PATTERN, has_several
from nmlab.reports.values import Cell, Column, Interval, ReportTable, Row, Style, counted, without_empty_columns

KEY, TITLE = "rivals", "Is the best really better?"
OTHER = Column("mask", "mask", is_prose=True)
BEST = Column("best", "against the best", is_prose=True)
P_VALUE = Column(
    "p_adjusted", "adjusted p", Style.P_VALUE, help="two-sided p-value, adjusted for the tests of the table"
)
NOISE = Column("noise", "decided over", help="the replicates of the deciding test: seeds, windows or questions")
VERDICT = Column("verdict", "verdict", help="whether the test separates the mask from the best, at 5%")
KINDS = {
    Noise.TRAINING: "t-tests over seeds",
    Noise.EVALUATION: "permutation tests over windows",
    Noise.QUESTIONS: "tests over questions",
}
WORDS = {True: "worse", False: "not separable", None: "not tested"}


def best_versus_rest_table(
    configurations: Sequence[Configuration],
    *,
    names: Mapping[tuple[str, bool], str],
    comparisons: Mapping[Hashable, Sequence[PairwiseComparison]],
    evaluations: Mapping[str, RunEvaluation] | None = None,
) -> ReportTable:
    """Return one row for each mask that is compared with the best of its group.

    Args:
        configurations: all configurations, best first.
        names: what the summary calls each side.
        comparisons: in the reported metric, by :func:`best_versus_rest` or of fresh seeds.
        evaluations: losses by window by run id, which say why something could not be tested.
    """
    objective = configurations[0].objective
    columns = (OTHER, PATTERN, BEST, *_columns(objective.reported), NOISE, P_VALUE, VERDICT)
    several = has_several(configurations, attribute="pattern")
    ordered = [item for group in comparisons.values() for item in group]
    known = evaluations or {}
    rows = tuple(_row(item, names, known, has_pattern=several) for item in ordered)
    caption = (
        "Each mask of the summary against the best mask that it may be compared with. Differences over seeds show "
        "training noise; differences over windows or questions show evaluation noise. The two are never mixed."
    )
    if any(item.reference.item.is_confirmation for item in ordered):
        caption += (
            " Configurations that ran again, and baselines that depend on the seed, stand with their fresh seeds."
        )
    return without_empty_columns(ReportTable(KEY, TITLE, caption, columns, rows, notes=_notes(ordered, known)))


def _columns(metric: str) -> tuple[Column, ...]:
    """Return difference, intervals over seeds and windows, and what could have been detected."""
    name, is_ratio = plain_name(metric), is_compared_by_ratio(metric)
    unit = f"× the best's {name}" if is_ratio else f"difference in {name}"
    style = Style.RATIO if is_ratio else difference_style(metric)
    mean = "geometric mean over seeds" if is_ratio else "mean over seeds"
    noise = Noise.QUESTIONS if is_of_task(metric) else Noise.EVALUATION
    found = (
        Column("difference", f"difference in {name}", difference_style(metric), help="mask minus best, of the means"),
        Column("seeds", f"{unit}, over seeds", style, interval=Interval.BRACKET, help=f"{mean}; 95% t-interval"),
        Column(
            "detectable",
            "detectable",
            Style.RATIO if is_ratio else style_of(metric),
            help="the smallest true difference or ratio that such a study detects in 80% of cases",
        ),
        Column(
            str(noise),
            f"{unit}, over {noise}",
            style,
            interval=Interval.BRACKET,
            help=f"{mean}; 95% BCa interval over the {noise}",
        ),
    )
    return found if is_ratio else found[1:]


def verdict_text(item: PairwiseComparison, *, evaluations: Mapping[str, RunEvaluation]) -> str:
    """Return the verdict on a mask: ``worse``, ``better``, ``not separable``, or ``not tested`` with the reason."""
    reason = untested_reason(item, evaluations=evaluations)
    if item.is_separated is None and reason:
        return f"{WORDS[None]}: {reason}"
    return "better" if item.is_better else WORDS[item.is_separated]


def _row(
    item: PairwiseComparison,
    names: Mapping[tuple[str, bool], str],
    evaluations: Mapping[str, RunEvaluation],
    *,
    has_pattern: bool,
) -> Row:
    own, best = item.side, item.reference
    run_ids = (*own.run_ids, *best.run_ids)
    cells = (
        Cell(_called(own, names), run_ids=own.run_ids),
        Cell(own.item.pattern if has_pattern else ""),
        Cell(_called(best, names), run_ids=best.run_ids),
        *([Cell(item.difference, run_ids=run_ids)] if item.is_ratio else []),
        interval_cell(item.as_stated(item.training), run_ids),
        Cell(item.detectable, run_ids=run_ids),
        interval_cell(item.as_stated(item.evaluation), run_ids),
        Cell(noise_text(item.decisive)),
        Cell(item.p_adjusted, run_ids=run_ids),
        Cell(verdict_text(item, evaluations=evaluations)),
    )
    return Row(cells, run_ids=run_ids, kind="initial" if own.is_initial else "searched")


def _called(side: Side, names: Mapping[tuple[str, bool], str]) -> str:
    name = names[side.item.key, side.is_initial]
    return f"{name}, on fresh seeds" if side.item.is_confirmation else name


def interval_cell(found: SideComparison | None, run_ids: tuple[str, ...]) -> Cell:
    """Return a comparison with its interval."""
    if found is None:
        return Cell(None)
    return Cell(found.difference, low=found.low, high=found.high, n=found.n, run_ids=run_ids)


def noise_text(decisive: SideComparison | None) -> str | None:
    """Return the replicates of the deciding test, such as ``3 seeds``; None where there is none."""
    return None if decisive is None else f"{decisive.n} {decisive.noise}"


def _notes(comparisons: Sequence[PairwiseComparison], evaluations: Mapping[str, RunEvaluation]) -> tuple[str, ...]:
    tested = [item for item in comparisons if item.decisive is not None]
    if not tested and all(is_counted(item.metric) for item in comparisons):
        return ("Counted, and the same in every run: there is nothing to test.",)
    if not tested:
        reasons = reasons_text(untested_reason(item, evaluations=evaluations) for item in comparisons)
        return (f"No test was possible: {reasons}.",) if comparisons else ()
    ratios = any(item.is_ratio for item in tested)
    notes = ["Perplexities are tested on the log scale, where their noise is additive."] if ratios else []
    for noise in Noise:
        count = sum(item.decisive is not None and item.decisive.noise is noise for item in tested)
        if count:
            notes.append(
                f"{counted(count, noun='comparison')} by {KINDS[noise]}, adjusted after Benjamini and Hochberg."
            )
    if any(item.is_separated is False for item in tested):
        notes.append(
            "Not separable does not prove equality: a true difference below the detectable one is often missed."
        )
    return (*notes, *dict.fromkeys(_about_selection(item.reference.item) for item in comparisons))


def _about_selection(best: Configuration) -> str:
    if best.is_confirmation:
        return "The best was chosen by the search, before these fresh seeds ran, so its choice favours nothing here."
    if best.objective.selects_on_validation:
        return (
            "The best was chosen on the validation text, by the same seeds that are tested here, whose luck favours it."
        )
    return "The best was chosen by the same numbers that are tested here, which favours it."

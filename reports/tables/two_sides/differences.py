"""The table of differences: both sides of every pair, their difference with its interval, the test, and the finding."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nmlab.reports.analysis.metrics import difference_style, is_compared_by_ratio, metric_column, plain_name, style_of
from nmlab.reports.analysis.two_sides import (
    LETTERS,
    MatchedPair,
    PairResult,
    TwoSides,
    deciding_test,
    finding_text,
    titles_of,
)
from nmlab.reports.analysis.two_sides.names import chosen_text, needs_chosen
from nmlab.reports.statistics import Noise, SideComparison
from nmlab.reports.tables.cells import CONFIGURATION, mean_cell
from nmlab.reports.tables.two_sides.names import RowNames
from nmlab.reports.values import (
    Cell,
    Column,
    Interval,
    Mark,
    ReportTable,
    Row,
    Style,
    counted,
    number_text,
    without_empty_columns,
)

KEY, TITLE = "differences", "A and B side by side"
METRIC = Column("metric", "metric")
P_VALUE = Column("p", "p", Style.P_VALUE, help="two-sided p-value of the test")
P_ADJUSTED = Column(
    "p_adjusted", "adjusted p", Style.P_VALUE, help="p-value after Benjamini and Hochberg over the rows of a metric"
)
TEST = Column("test", "test", help="the deciding test and what it is taken over")
FINDING = Column("finding", "finding", help="what the test finds, at 5% after correction")
BUDGET = Column("budget", "budget", help="what the cheaper side spent on one run")


@dataclass(frozen=True, slots=True)
class _Layout:
    """How rows are named, and which columns they fill."""

    names: RowNames
    has_metrics: bool
    has_chosen: bool
    has_corrected: bool

    def chosen(self, pair: MatchedPair, place: int) -> Cell:
        """Return which configuration of a side stands in a row, where rows have to say it."""
        return Cell(chosen_text(pair, place=place, matching=self.names.matching) if self.has_chosen else "")


def differences_table(found: TwoSides) -> ReportTable:
    """Return one row for each pair and metric, in the order of the pairs; the side that a test finds better is bold."""
    results = found.results
    names = RowNames.of(found.matching)
    layout = _Layout(
        names=names,
        has_metrics=len(found.metrics) > 1,
        has_chosen=needs_chosen(found.matching),
        has_corrected=any(item.comparison.p_adjusted != item.p_value for item in results),
    )
    columns = (
        *names.columns,
        METRIC,
        FINDING,
        *_value_columns(found),
        *_difference_columns(results),
        P_VALUE,
        P_ADJUSTED,
        TEST,
        _detectable_column(results),
        *(_side_column(f"{letter.lower()}_is", f"{letter} is") for letter in LETTERS),
        *_budget_columns(),
        *(
            replace(CONFIGURATION, key=f"configuration_{letter.lower()}", title=f"configuration of {letter}")
            for letter in LETTERS
        ),
    )
    rows = tuple(_row(item, layout) for item in results)
    table = ReportTable(KEY, TITLE, _caption(found), columns, rows, notes=_notes(results))
    return without_empty_columns(table)


def _side_column(key: str, title: str) -> Column:
    return Column(key, title, help="which configuration of this side stands in the row")


def _value_columns(found: TwoSides) -> tuple[Column, ...]:
    """Return the columns of the two means, titled by the sides."""
    base = metric_column(found.metrics[0], objective=found.sides[0].runs.objective)
    titles = titles_of(found.labels)
    several = len(found.metrics) > 1
    return tuple(
        replace(
            base,
            key=letter.lower(),
            title=title if several else f"{title}, {base.title}",
            style=Style.GENERAL if several else base.style,
            help=f"mean of {letter} over its finished seeds, 95% t-interval",
        )
        for letter, title in zip(LETTERS, titles, strict=True)
    )


def _difference_columns(results: Sequence[PairResult]) -> tuple[Column, ...]:
    styles = {difference_style(item.metric) for item in results}
    style = styles.pop() if len(styles) == 1 else Style.GENERAL
    ratio_help = "B divided by A, geometric means; 95% interval of the deciding comparison"
    return (
        Column("difference", "B − A", style, interval=Interval.BRACKET, help="mean of B minus mean of A, 95% interval"),
        Column("ratio", "B ÷ A", Style.RATIO, interval=Interval.BRACKET, help=ratio_help),
    )


def _detectable_column(results: Sequence[PairResult]) -> Column:
    """Return the column of what could have been found: ratios for perplexities, else in the style of the metric."""
    metrics = {item.metric for item in results}
    style = style_of(next(iter(metrics))) if len(metrics) == 1 else Style.GENERAL
    if metrics and all(map(is_compared_by_ratio, metrics)):
        style = Style.RATIO
    return Column("detectable", "detectable", style, help="smallest true difference or ratio found in 80% of cases")


def _budget_columns() -> tuple[Column, ...]:
    steps = (Column(f"step_{letter.lower()}", f"{letter} at step") for letter in LETTERS)
    return (BUDGET, *steps)


def _row(item: PairResult, layout: _Layout) -> Row:
    pair, run_ids = item.pair, item.pair.run_ids
    cells = (
        *layout.names.cells(pair),
        Cell(plain_name(item.metric) if layout.has_metrics else ""),
        Cell(finding_text(item)),
        *_values(item),
        *_differences(item),
        Cell(item.p_value, run_ids=run_ids),
        Cell(item.comparison.p_adjusted if layout.has_corrected else None, run_ids=run_ids),
        Cell(deciding_test(item)),
        Cell(item.detectable, run_ids=run_ids),
        *(layout.chosen(pair, place) for place in (0, 1)),
        *_budget_cells(item),
        *(Cell(each.key, run_ids=each.run_ids) for each in pair.sides),
    )
    kind = "dense" if pair.first.is_dense else "baseline" if pair.first.is_baseline else "searched"
    return Row(cells, run_ids=run_ids, kind=kind, configuration=pair.second.key)


def _values(item: PairResult) -> tuple[Cell, Cell]:
    """Return the two means; the side that the test finds better is marked."""
    first, second = (
        replace(mean_cell(side, metric=item.metric), mark=Mark.BEST if item.better_side == place else Mark.NONE)
        for place, side in enumerate((item.comparison.reference, item.comparison.side))
    )
    return first, second


def _differences(item: PairResult) -> tuple[Cell, Cell]:
    """Return difference and ratio; the interval stands with that of the two which was tested."""
    decisive = item.decisive
    plain, tested = Cell(item.difference, run_ids=item.pair.run_ids), Cell(None)
    if decisive is not None:
        tested = replace(interval_cell(decisive), run_ids=item.pair.run_ids)
    if item.comparison.is_ratio:
        return plain, tested
    return replace(tested, value=item.difference, run_ids=item.pair.run_ids), Cell(None)


def interval_cell(found: SideComparison) -> Cell:
    """Return a comparison with its interval and number of replicates."""
    return Cell(found.difference, low=found.low, high=found.high, n=found.n)


def _budget_cells(item: PairResult) -> tuple[Cell, Cell, Cell]:
    budget = item.pair.budget
    if budget is None:
        return Cell(""), Cell(""), Cell("")
    style = Style.SECONDS if budget.kind == "seconds" else Style.INTEGER
    first, second = (Cell(f"{step:,} of {last:,}" if last else "no steps") for step, last in budget.steps)
    return Cell(f"{number_text(budget.size, style=style)} {budget.kind}"), first, second


def _caption(found: TwoSides) -> str:
    what = "Means over finished seeds with their 95% t-interval"
    if found.budget:
        what = f"Means within an equal budget of {found.budget}: what the cheaper side spent on one run"
    chances = "Bold is the side that a test at 5% finds better; nothing else is bold."
    first, second = titles_of(found.labels)
    names = f" {first}. {second}." if any(found.labels) else ""
    return f"{what}. Differences are B minus A. {chances}{names}"


def _notes(results: Sequence[PairResult]) -> tuple[str, ...]:
    """Say which tests were used, on what scale, which seeds took no part, and what stands with fresh seeds."""
    notes = []
    tests = Counter(text for item in results if (text := deciding_test(item)) and text != "counted")
    if len(tests) > 1:
        tests = Counter(text.partition(" over ")[0] for text in tests.elements())
    listed = ", ".join(f"{name} ({counted(count, noun='row')})" for name, count in tests.items())
    if listed:
        notes.append(f"Tests: {listed}. Seeds that both sides have are compared in pairs.")
    if any(item.comparison.is_ratio and item.comparison.decisive is not None for item in results):
        notes.append(
            "Perplexities are tested on the log scale, where their noise is additive; the ratio is its result."
        )
    if any(item.comparison.decisive and item.comparison.decisive.noise is not Noise.TRAINING for item in results):
        notes.append("Where no result depends on the seed, tests are over windows or questions of the evaluation.")
    if left := [item for item in results if item.shared_seeds and _seeds_left(item)]:
        notes.append(
            f"In {counted(len(left), noun='row')} a side has seeds that the other lacks: these are in its mean, and in "
            "no difference."
        )
    if fresh := sum(item.pair.is_fresh for item in results):
        notes.append(f"In {counted(fresh, noun='row')} the values are of fresh seeds, which the search has not seen.")
    if any(item.finding == "not separable" for item in results):
        notes.append(
            "Not separable does not prove equality: a true difference below the detectable one is often missed."
        )
    return tuple(notes)


def _seeds_left(item: PairResult) -> int:
    return sum(len(side) for side in item.values) - 2 * len(item.shared_seeds)

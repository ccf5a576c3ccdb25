"""The four tiles of a comparison as a table: difference, confidence, cost and completeness."""

from collections import Counter

from nmlab.reports.analysis.metrics import plain_name
from nmlab.reports.analysis.pairwise import Side
from nmlab.reports.analysis.totals import SECONDS, total_of
from nmlab.reports.analysis.two_sides import LETTERS, PairResult, TwoSides, deciding_test, finding_text
from nmlab.reports.analysis.two_sides.names import row_text
from nmlab.reports.narrative.two_sides.amounts import (
    bracketed_change,
    change_of,
    detectable_size,
    means_text,
    p_text,
)
from nmlab.reports.narrative.two_sides.sentences import DECIDED
from nmlab.reports.tables.two_sides.costs import totals_text
from nmlab.reports.values import Cell, Column, ReportTable, Row, Style, counted, number_text

KEY, TITLE = "verdict", "The verdict in numbers"
CAPTION = (
    "The numbers of the verdict. An interval is of this pair alone; p-values are corrected for the number of pairs."
)
WHAT = Column("what", "what")
VALUE = Column("value", "value")
DETAIL = Column("detail", "detail", is_prose=True)
REASONS_NAMED = 2


def tiles_of(found: TwoSides) -> ReportTable:
    """Return the four tiles as the rows of a table."""
    rows = (_difference(found), _confidence(found), _cost(found), _completeness(found))
    return ReportTable(KEY, TITLE, CAPTION, (WHAT, VALUE, DETAIL), rows)


def by_size(found: TwoSides) -> list[PairResult]:
    """Return the pairs of the leading metric: those that the tests tell apart first, each group by its change."""
    return sorted(found.leading, key=lambda item: (item.finding not in DECIDED, -_size(item)))


def _size(item: PairResult) -> float:
    change = change_of(item)
    return abs(item.difference if change is None else change.value)


def _row(what: str, value: Cell, detail: str) -> Row:
    return Row((Cell(what), value, Cell(detail)), run_ids=value.run_ids, kind="tile")


def _difference(found: TwoSides) -> Row:
    """Return the change of B from A: of the only pair, or of the one that differs most."""
    name = plain_name(found.metrics[0])
    what = f"B against A: {name}"
    if not found.leading:
        return _row(what, Cell("–"), "no pair has a value")
    item = by_size(found)[0]
    first, second = means_text(item)
    detail = f"B {second} against A {first}"
    if len(found.leading) > 1:
        what = f"Largest difference of B from A: {name}"
        if item.finding == "equal":
            return _row(what, Cell("none"), "the same values in every pair")
        detail = f"{row_text(item.pair, matching=found.matching)}; {detail}"
    return _row(what, _change_cell(item), detail)


def _change_cell(item: PairResult) -> Cell:
    decisive, run_ids, shown = item.decisive, item.pair.run_ids, bracketed_change(item)
    if decisive is None:
        return Cell(item.difference, run_ids=run_ids, shown=shown)
    return Cell(decisive.difference, low=decisive.low, high=decisive.high, n=decisive.n, run_ids=run_ids, shown=shown)


def _confidence(found: TwoSides) -> Row:
    """Return whether the pair differs and its p-value, or how many pairs differ; and by which test."""
    if len(found.leading) != 1:
        return _confidence_of_many(found)
    item = found.leading[0]
    words = {"equal": "equal", "not separable": "cannot tell", "not tested": "not tested"}
    answer = ", ".join(text for text in (words.get(item.finding, finding_text(item)), p_text(item)) if text)
    parts = [item.why_untested or ("" if item.is_equal else deciding_test(item))]
    if item.finding == "not separable" and (size := detectable_size(item)):
        parts.append(f"smallest detectable {size}")
    if item.pair.is_fresh:
        parts.append("fresh seeds")
    detail = "; ".join(part for part in parts if part) or "the same values"
    return _row("Confidence: do they differ?", Cell(answer, run_ids=item.pair.run_ids), detail)


def _confidence_of_many(found: TwoSides) -> Row:
    count = sum(item.finding in DECIDED for item in found.leading)
    run_ids = tuple(dict.fromkeys(run_id for item in found.leading for run_id in item.pair.run_ids))
    findings = Counter(finding_text(item).partition(":")[0] for item in found.leading)
    tested = [item for item in found.leading if item.p_value is not None and not item.is_equal]
    tests = dict.fromkeys(deciding_test(item).partition(" over ")[0] for item in tested)
    by = f"; by {', '.join(tests)} at 5%, corrected" if tests else ""
    value = Cell(count, run_ids=run_ids, shown=f"{count} of {len(found.leading)}")
    return _row("Confidence: pairs that differ", value, ", ".join(f"{n} {name}" for name, n in findings.items()) + by)


def _cost(found: TwoSides) -> Row:
    """Return the seconds of one run of B and of A as a ratio; of several pairs, of all runs of each side."""
    what = "Cost: B ÷ A, seconds of one run"
    if found.budget:
        return _row("Cost", Cell(f"equal {found.budget}"), f"by choice; whole runs: {totals_text(found)}")
    if len(found.leading) == 1:
        pair = found.leading[0].pair
        means = [Side(item).estimate(SECONDS) for item in pair.sides]
        values = [mean.mean if mean is not None else 0.0 for mean in means]
        run_ids, detail = pair.run_ids, f"all runs: {totals_text(found)}"
        if all(values):
            own, other = (number_text(value, style=Style.SECONDS) for value in values)
            detail = f"one run: B {other} s, A {own} s; {detail}"
    else:
        what = "Cost: B ÷ A, seconds of all runs"
        values = [total_of(side.configurations).value for side in found.sides]
        run_ids, detail = (), totals_text(found)
    if not all(values):
        return _row(what, Cell("unknown"), "not every side recorded its cost")
    if any(fact.kind == "machine" for fact in found.facts):
        detail += "; on different machines"
    ratio = values[1] / values[0]
    return _row(what, Cell(ratio, run_ids=run_ids, shown=f"× {number_text(ratio, style=Style.RATIO)}"), detail)


def _completeness(found: TwoSides) -> Row:
    """Return how many pairs were compared, and which runs were not."""
    pairs, left = found.matching.pairs, found.matching.unmatched
    run_ids = tuple(dict.fromkeys(run_id for pair in pairs for run_id in pair.run_ids))
    value = Cell(len(pairs), run_ids=run_ids, shown=f"{counted(len(pairs), noun='pair')} compared")
    if not left:
        return _row("Completeness", value, f"{counted(len(run_ids), noun='run')}; nothing was left out")
    runs = sum(len(entry.item.every_trial) for entry in left)
    reasons = Counter(f"{LETTERS[entry.side]}: {entry.reason}" for entry in left)
    named = "; ".join(reason for reason, _ in reasons.most_common(REASONS_NAMED))
    more = (
        f"; and {counted(len(reasons) - REASONS_NAMED, noun='further reason')}" if len(reasons) > REASONS_NAMED else ""
    )
    without = f"{counted(len(left), noun='configuration')} with {counted(runs, noun='run')}"
    return _row("Completeness", value, f"{counted(len(run_ids), noun='run')}; not compared: {without} ({named}{more})")

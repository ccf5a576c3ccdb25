"""The table "The effect of each setting": between which of its values, how large, and whether a test sees it."""

from collections.abc import Sequence

from nmlab.reports.analysis.metrics import difference_style, is_compared_by_ratio, plain_name
from nmlab.reports.analysis.settings import value_text
from nmlab.reports.analysis.space.effects import NO_DIFFERENCE, Basis, SettingEffects, SettingTest
from nmlab.reports.read.typed_text import Value
from nmlab.reports.tables.cells import METHOD, PATTERN
from nmlab.reports.values import Cell, Column, Interval, ReportTable, Row, Style, without_empty_columns

KEY, TITLE = "effects", "The effect of each setting"
SETTING = Column("setting", "setting")
LOWER = Column("from", "from", help="of numbers the smaller one, of texts the one with the lower result")
UPPER = Column("to", "to", help="the other value")
P_VALUE = Column(
    "p_adjusted", "p (Holm)", Style.P_VALUE, help="F-test of the setting, after Holm over the settings of the method"
)
OVER = Column("noise", "decided over")
VERDICT = Column("verdict", "verdict", help="whether the test finds that the setting changes the result, at 5%")
SEEN = "makes a difference"
CAPTION = (
    "How much the result changes between two values of a setting, the other settings averaged out. Of several values "
    "the two farthest apart are shown, with Tukey's 95% interval, which allows for that choice. Of a number with many "
    "values it is the change along a straight line from the smallest to the largest."
)


def effects_table(effects: Sequence[SettingEffects]) -> ReportTable:
    """Return one row for each setting that a method varied."""
    metric = effects[0].metric if effects else ""
    columns = (METHOD, PATTERN, SETTING, LOWER, UPPER, _difference(metric), OVER, P_VALUE, VERDICT)
    several = len({found.pattern for found in effects}) > 1
    rows = tuple(_row(found, test, has_pattern=several) for found in effects for test in found.tests)
    notes = tuple(dict.fromkeys(note for found in effects for note in _notes(found)))
    return without_empty_columns(ReportTable(KEY, TITLE, CAPTION, columns, rows, notes=notes))


def verdict_of(test: SettingTest) -> str:
    """Return the verdict on a setting in words."""
    if test.p_adjusted is None:
        return "not tested: nothing varies by chance"
    return SEEN if test.is_seen else NO_DIFFERENCE


def _difference(metric: str) -> Column:
    is_ratio = bool(metric) and is_compared_by_ratio(metric)
    title = f"× {plain_name(metric)}" if is_ratio else f"difference in {plain_name(metric)}" if metric else ""
    style = Style.RATIO if is_ratio else difference_style(metric) if metric else Style.GENERAL
    return Column("difference", title, style, interval=Interval.BRACKET, help="at the second value against the first")


def _row(found: SettingEffects, test: SettingTest, *, has_pattern: bool) -> Row:
    run_ids = found.run_ids
    own = found.stated(test)
    replicates = found.seeds if found.basis is Basis.SEEDS else len(found.items)
    cells = (
        Cell(found.method),
        Cell(found.pattern if has_pattern else ""),
        Cell(test.name),
        _value_cell(test.lower),
        _value_cell(test.upper),
        Cell(None) if own is None else Cell(own.difference, own.low, own.high, replicates, run_ids),
        Cell(f"{replicates} {found.basis}"),
        Cell(test.p_adjusted, run_ids=run_ids),
        Cell(verdict_of(test)),
    )
    return Row(cells, run_ids=run_ids, kind="effect")


def _value_cell(value: Value | None) -> Cell:
    return Cell(value, shown="" if value is None else value_text(value))


def _notes(found: SettingEffects) -> list[str]:
    notes = []
    if found.reason:
        notes.append(f"Not tested for {found.method}: {found.reason}.")
    elif found.basis is Basis.CONFIGURATIONS:
        notes.append(
            "The means of the configurations were regressed on all settings, because not every combination ran to the "
            "end. The search chose where to look, so p-values and intervals are approximate."
        )
    if found.step is not None and not found.reason:
        notes.append(
            f"Some configurations were stopped early: all are compared in {plain_name(found.metric)} at step "
            f"{found.step:,}, the last at which each of them was evaluated."
        )
    return notes

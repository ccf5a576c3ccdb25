"""Compare two sides by tests, or several studies in one table with chosen rows, columns and metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from nmlab.reports.analysis.comparability import Difference, refuse_mixed
from nmlab.reports.analysis.compared_studies import (
    ComparedStudy,
    differences_between,
    evidence_of,
    read_studies,
)
from nmlab.reports.analysis.cross_tabulation import cross_tabulation, layout_of
from nmlab.reports.analysis.two_sides import LETTERS, TwoSides, compare_sides
from nmlab.reports.figures.differences import differences_of
from nmlab.reports.narrative.two_sides import first_screen_of_sides, title_of, warnings_of
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.store import RunStore, open_store
from nmlab.reports.render.compared import FORMATS, Compared
from nmlab.reports.render.document import Document, RunLinks
from nmlab.reports.tables.pivot import pivot_table
from nmlab.reports.tables.two_sides import two_sides_tables
from nmlab.reports.values import ReportTable, with_notes

__all__ = ["FORMATS", "Compared", "compare"]

UI_BASE = "http://127.0.0.1:5000"
WHOLE_TABLES = "printed by nmlab compare with --format csv --table {key}"


def compare(
    studies: Sequence[str],
    *,
    tracking_uri: str,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    metrics: Sequence[str] = (),
    at_equal: str = "",
    mixed: bool = False,
    ui_base: str = UI_BASE,
) -> Compared:
    """Compare two sides, or put the configurations of one or several studies into one table.

    Two studies without ``columns`` are two sides: each pair of configurations is tested. Everything else is a table.

    Args:
        studies: studies, each with ``@launch`` where not the newest launch is meant, several launches joined by commas,
            and with ``:selector`` where not all configurations are meant (see
            :mod:`nmlab.reports.analysis.compared_studies`).
        tracking_uri: the MLflow store to read.
        rows: dimensions of the rows: ``study``, ``method``, ``pattern``, ``role`` or a setting; of two sides, what
            makes two configurations a pair.
        columns: dimensions of the columns, from the same names.
        metrics: the metrics to show; by default the one that the first study reports, usually ``eval/perplexity``, and
            those of neutral texts.
        at_equal: of two sides, compare at an equal budget: ``tokens``, ``forwards``, ``backwards``, ``seconds`` or
            ``steps``.
        mixed: allow runs that were not evaluated alike; of a table also those with other versions.
        ui_base: address of the MLflow user interface that links lead to.

    Raises:
        ReportError: an unknown study, launch, selector, row, column, metric or budget (with the nearest names), a study
            without a finished run, nothing to compare, a corrupted artifact, a budget of which no curve was recorded,
            or runs that were not evaluated alike where ``mixed`` does not allow it.
    """
    if not studies:
        raise ReportError("name at least one study to compare")
    store = open_store(tracking_uri)
    if len(studies) == 2 and not columns:
        sides = (studies[0], studies[1])
        found = compare_sides(store, sides, rows=rows, metrics=metrics, at_equal=at_equal)
        return _of_two_sides(found, mixed=mixed, ui_base=ui_base)
    if at_equal:
        raise ReportError("an equal budget is of two sides; give A and B, and no columns")
    return _of_studies(store, studies, rows=rows, columns=columns, metrics=metrics, mixed=mixed, ui_base=ui_base)


def _of_two_sides(found: TwoSides, *, mixed: bool, ui_base: str) -> Compared:
    if found.unlike.decisive and not mixed:
        raise ReportError(_refusal(found.unlike.decisive))
    screen = first_screen_of_sides(found)
    notes = tuple(f"Not evaluated alike: {item}." for item in found.unlike.decisive)
    tables = tuple(with_notes(table, notes=notes) for table in two_sides_tables(found))
    document = _document(tables, studies=found.sides, warnings=warnings_of(found), ui_base=ui_base)
    facts = tuple((letter, _side_text(side)) for letter, side in zip(LETTERS, found.sides, strict=True))
    shown = replace(document, title=title_of(found), facts=facts, facts_title="The two sides", screen=screen)
    return Compared(shown, screen.verdict, differences_of(found))


def _side_text(side: ComparedStudy) -> str:
    launches = ", ".join(launch.name for launch in side.runs.launches)
    return f"{side.selector} of {launches}" if side.selector else launches


def _refusal(found: Sequence[Difference]) -> str:
    """Return one line that names every difference."""
    return f"A and B were not evaluated alike: {'; '.join(map(str, found))}; --mixed compares them anyway, and marks it"


def _of_studies(
    store: RunStore,
    studies: Sequence[str],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    metrics: Sequence[str],
    mixed: bool,
    ui_base: str,
) -> Compared:
    read = read_studies(store, studies=studies)
    members = [member for study in read for member in study.members]
    layout = layout_of(members, rows=rows, columns=columns, metrics=metrics)
    found = differences_between(members, dimensions=layout.dimensions, metrics=layout.metrics)
    warnings = refuse_mixed(found, mixed=mixed)
    tabulated = cross_tabulation(members, layout=layout, evidence=evidence_of(store, studies=read))
    table = with_notes(pivot_table(tabulated, members=members), notes=warnings)
    return Compared(_document((table,), studies=read, warnings=warnings, ui_base=ui_base))


def _document(
    tables: tuple[ReportTable, ...], *, studies: Sequence[ComparedStudy], warnings: tuple[str, ...], ui_base: str
) -> Document:
    """Return tables as a document whose numbers link to the runs of their own study."""
    launches: Mapping[str, str] = {study.name: study.runs.launch.name for study in studies}
    experiments = {
        trial.run_id: study.runs.experiment_id
        for study in studies
        for item in study.configurations
        for trial in item.every_trial
    }
    return Document(
        study=", ".join(launches),
        facts=tuple((f"launch of {study}", launch) for study, launch in launches.items()),
        headline=(),
        warnings=warnings,
        tables=tables,
        figures=(),
        provenance=(),
        links=RunLinks(ui_base=ui_base, experiment_id=studies[0].runs.experiment_id, experiments=experiments),
        written=datetime.now(tz=UTC),
        whole_tables=WHOLE_TABLES,
    )

"""The index page of a store: the question, state, findings and report of every study."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from nmlab.reports.narrative.provenance import moment_text
from nmlab.reports.read.collect import StudyRuns, collect
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.mlflow_access.addresses import shown
from nmlab.reports.read.store import RunStore, open_store
from nmlab.reports.render import html_text, markdown_text
from nmlab.reports.render.document import Document, RunLinks
from nmlab.reports.render.public import Anonymiser
from nmlab.reports.report import UI_BASE, document_of, write_document
from nmlab.reports.values import Cell, Column, ReportTable, Row, counted, without_empty_columns
from nmlab.trials.contract import run_params
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus

COLUMNS = (
    Column("study", "study"),
    Column("answers", "question", is_prose=True),
    Column("reproduces", "reproduces"),
    Column("status", "status"),
    Column("runs", "finished runs"),
    Column("found", "what was found", is_prose=True),
    Column("claims", "the papers' claims", is_prose=True),
    Column("started", "started"),
)


@dataclass(frozen=True, slots=True)
class IndexedStudy:
    """One study on the page; ``problem`` is the reason where it has no report."""

    study: str
    runs: StudyRuns | None
    document: Document | None
    problem: str = ""


def write_index(
    *, tracking_uri: str, output: Path, mixed: bool = False, ui_base: str = UI_BASE, public: bool = False
) -> tuple[Path, tuple[IndexedStudy, ...]]:
    """Write the report of the newest launch of every study, and a page that links to them.

    Reports go to ``output/STUDY``, the page to ``output/index.html`` and ``output/index.md``. A study without a report,
    for example because nothing has finished, is on the page with the reason.

    Args:
        tracking_uri: the MLflow store to read.
        output: the folder to write to.
        mixed: allow runs that were not evaluated alike in one table, each marked with what differs.
        ui_base: address of the MLflow user interface for links.
        public: leave out the user, hosts and folders (see :mod:`nmlab.reports.render.public`).

    Raises:
        ReportError: a store that can't be read or holds no study, or a folder that can't be written.
    """
    store = open_store(tracking_uri)
    studies = store.studies()
    if not studies:
        raise ReportError(f"{shown(tracking_uri)} holds no study: nothing has been run under it yet")
    entries = []
    for study in studies:
        entry = _entry(store, study, mixed=mixed, ui_base=ui_base, public=public)
        if entry.document is not None:
            write_document(entry.document, output=output / study)
        entries.append(IndexedStudy(entry.study, entry.runs, _without_drawings(entry.document), entry.problem))
    document = index_document(entries, uri=tracking_uri, ui_base=ui_base)
    if public:
        document = Anonymiser().everywhere(document)
    page = output / "index.html"
    try:
        output.mkdir(parents=True, exist_ok=True)
        page.write_text(html_text(document), encoding="utf-8")
        page.with_suffix(".md").write_text(markdown_text(document), encoding="utf-8")
    except OSError as error:
        raise ReportError(f"the index can't be written to {output}: {error.strerror or error}") from error
    return page, tuple(entries)


def index_document(entries: list[IndexedStudy], *, uri: str, ui_base: str = UI_BASE) -> Document:
    """Return the page as a document: one table with one row for each study."""
    reports = sum(entry.document is not None for entry in entries)
    table = ReportTable(
        key="studies",
        title="Studies",
        caption="The newest launch of every study in the store, with the verdict of its report. The report has the "
        "tests.",
        columns=COLUMNS,
        rows=tuple(_row(entry) for entry in entries),
        notes=(f"{counted(reports, noun='report')} of {len(entries)}.",),
    )
    return Document(
        study="all studies",
        facts=(("store", shown(uri)), ("studies", str(len(entries)))),
        headline=(),
        warnings=tuple(f"{entry.study}: {entry.problem}." for entry in entries if entry.problem),
        tables=(without_empty_columns(table),),
        figures=(),
        provenance=(),
        links=RunLinks(ui_base=ui_base, experiment_id=""),
        written=datetime.now(tz=UTC),
    )


def _entry(store: RunStore, study: str, *, mixed: bool, ui_base: str, public: bool) -> IndexedStudy:
    try:
        document = document_of(store, study=study, mixed=mixed, ui_base=ui_base, public=public)
        return IndexedStudy(study, collect(store, study=study), document)
    except ReportError as error:
        return IndexedStudy(study, None, None, problem=str(error))


def _without_drawings(document: Document | None) -> Document | None:
    """Return a document without its figures, which are already on disk, to save memory."""
    if document is None:
        return None
    return replace(document, figures=())


def _row(entry: IndexedStudy) -> Row:
    if entry.runs is None or entry.document is None:
        cells = [Cell(entry.study), *(Cell("") for _ in COLUMNS[1:5]), Cell("no report, see above"), Cell(""), Cell("")]
        return Row(tuple(cells), run_ids=(), is_flawed=True)
    runs, launch = entry.runs, entry.runs.launch
    claims = next((table.notes[0] for table in entry.document.tables if table.key == "claims" and table.notes), "")
    cells = [
        Cell(entry.study, href=f"{entry.study}/report.html"),
        Cell(launch.params.get(run_params.ANSWERS, "")),
        Cell(", ".join(launch.reproduces)),
        Cell(launch.status),
        Cell(f"{runs.count(TrialStatus.FINISHED)} of {launch.planned_runs or len(runs.trials)}"),
        Cell(entry.document.screen.verdict if entry.document.screen is not None else ""),
        Cell(claims),
        Cell(moment_text(launch.started)),
    ]
    return Row(tuple(cells), run_ids=(launch.run_id,), is_flawed=launch.status != LaunchStatus.FINISHED)

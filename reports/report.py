"""Write the comparison report of one launch of a study, or of several pooled, from MLflow alone.

The report is built in a temporary folder next to its destination and moved there when it is complete, so that no
half-written report is ever visible.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nmlab.reports.analysis.analysis import Analysis, analyse
from nmlab.reports.analysis.comparability import (
    Difference,
    differences_between_launches,
    differences_within,
    refuse_mixed,
)
from nmlab.reports.figures import study_figures
from nmlab.reports.narrative.caveats import caveats_of
from nmlab.reports.narrative.first_screen import first_screen_of
from nmlab.reports.narrative.headline import headline_of
from nmlab.reports.narrative.provenance import moment_text, provenance_of
from nmlab.reports.narrative.verdicts import verdict_sentences
from nmlab.reports.read.collect import StudyRuns, collect
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.pool import collect_pool
from nmlab.reports.read.store import RunStore, open_store
from nmlab.reports.render import csv_text, html_text, json_text, latex_files, markdown_text
from nmlab.reports.render.commands import DEFAULT_STORE, commands_of
from nmlab.reports.render.document import Document, RunLinks
from nmlab.reports.render.public import anonymiser_of, public_runs
from nmlab.reports.tables.comparison import comparison_tables
from nmlab.reports.tables.winner import winner_values
from nmlab.reports.values import for_pages, with_notes
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.metrics import text_of
from nmlab.trials.contract.run_params import neutral_sources
from nmlab.trials.contract.run_status import TrialStatus

UI_BASE = "http://127.0.0.1:5000"
FOLDERS = {"tables": (".csv", ".tex"), "figures": (".svg", ".png", ".pdf")}
PAGES = ("report.html", "report.md", "report.json")


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """The files of a written report, its headline, and the best of each group.

    The headline is the verdict in one sentence, then the findings.
    """

    html: Path
    markdown: Path
    tables: list[Path]
    figures: list[Path]
    headline: tuple[str, ...]
    winners: tuple[Mapping[str, object], ...] = ()


def write_report(
    study: str,
    *,
    tracking_uri: str,
    output: Path,
    launch: str | Sequence[str | None] | None = None,
    mixed: bool = False,
    ui_base: str = UI_BASE,
    public: bool = False,
) -> ReportFiles:
    """Write ``report.html``, ``report.md``, ``report.json``, ``tables/*.csv|tex``, ``figures/*.svg|png|pdf``.

    The same store gives the same bytes, apart from the one line in each of the first two that starts with
    "Report written".

    Args:
        study: the study's name.
        tracking_uri: the MLflow store to read.
        output: the folder to write; an existing report is replaced, other contents are refused.
        launch: name or parent run id of the launch, the newest by default; or several, whose runs are pooled.
        mixed: allow runs that were not evaluated alike in one table, each marked with what differs.
        ui_base: address of the MLflow user interface that the links lead to.
        public: leave out the user, hosts and folders (see :mod:`nmlab.reports.render.public`).

    Raises:
        ReportError: a store that can't be read, an unknown study or launch, no finished run, a corrupted artifact,
            runs that were not evaluated alike where ``mixed`` does not allow it, or an output folder that can't be
            written or holds something else.
    """
    store = open_store(tracking_uri)
    document = document_of(store, study=study, launch=launch, mixed=mixed, ui_base=ui_base, public=public)
    return write_document(document, output=output)


def write_document(document: Document, *, output: Path) -> ReportFiles:
    """Write a report from its document; see :func:`write_report`."""
    try:
        _refuse_foreign_folder(output)
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as folder:
            _write(document, Path(folder) / "new")
            _put_in_place(Path(folder), output)
    except OSError as error:
        raise ReportError(f"the report can't be written to {output}: {error.strerror or error}") from error
    return _report_at(output, document)


def document_of(
    store: RunStore,
    *,
    study: str,
    launch: str | Sequence[str | None] | None = None,
    mixed: bool = False,
    ui_base: str = UI_BASE,
    public: bool = False,
) -> Document:
    """Build the whole report as a document.

    Raises:
        ReportError: see :func:`write_report`.
    """
    if launch is None or isinstance(launch, str):
        runs = collect(store, study=study, launch=launch)
    else:
        runs = collect_pool(store, study=study, launches=launch)
    if not public:
        return _document(store, runs, mixed=mixed, ui_base=ui_base, uri=store.uri)
    hide = anonymiser_of(runs)
    document = _document(store, public_runs(runs, hide), mixed=mixed, ui_base=ui_base, uri=DEFAULT_STORE)
    return hide.everywhere(document)


def _document(store: RunStore, runs: StudyRuns, *, mixed: bool, ui_base: str, uri: str) -> Document:
    found = analyse(store, runs=runs)
    differences = refuse_mixed(_differences(found), mixed=mixed)
    return Document(
        study=runs.study,
        facts=_facts(found.runs),
        headline=headline_of(
            found.runs,
            configurations=found.configurations,
            verdicts=verdict_sentences(found),
            winners=found.winners,
            confirmed=found.confirmed,
            evaluations=found.evaluations,
        ),
        warnings=(*differences, *caveats_of(found)),
        tables=tuple(with_notes(table, notes=differences) for table in comparison_tables(found)),
        figures=study_figures(found),
        provenance=provenance_of(found.runs, check=found.check),
        links=RunLinks(ui_base=ui_base, experiment_id=found.runs.experiment_id),
        written=datetime.now(tz=UTC),
        title=found.runs.launch.params.get(run_params.TITLE, ""),
        question=found.runs.launch.params.get(run_params.ANSWERS, ""),
        commands=commands_of(found, tracking_uri=uri),
        screen=first_screen_of(found),
        winners=winner_values(
            found.winners,
            evaluations=found.evaluations,
            configurations=found.configurations,
            confirmed=found.confirmed,
        ),
    )


def _differences(found: Analysis) -> tuple[Difference, ...]:
    """Return what the runs of one launch that a table compares differ in; of pooled launches, what any of them do."""
    if found.runs.pooled:
        return differences_between_launches(found.configurations, launches=found.runs.launch_of_run)
    return differences_within(found.configurations)


def _facts(runs: StudyRuns) -> tuple[tuple[str, str], ...]:
    launch = runs.launch
    patterns = sorted({trial.pattern for trial in runs.trials if trial.pattern})
    model = launch.params.get(run_params.MODEL_SOURCE, "")
    return tuple(
        (name, value)
        for name, value in (
            ("launches pooled" if runs.pooled else "launch", launch.name),
            ("started", moment_text(launch.started)),
            ("status", launch.status),
            ("model", model),
            ("mask", _mask_text(launch.tags.get(run_tags.COVERAGE, ""), patterns)),
            ("weights", launch.tags.get(run_tags.STORED, "")),
            ("selected on", _selected_on(runs)),
            ("evaluated on", launch.params.get(run_params.EVALUATION_SOURCE, "")),
            ("neutral texts", _neutral_texts(launch.params)),
            ("runs", f"{runs.count(TrialStatus.FINISHED)} finished of {launch.planned_runs or len(runs.trials)}"),
        )
        if value
    )


def _selected_on(runs: StudyRuns) -> str:
    """Return the text that configurations are selected on where it is not the evaluation text: its source."""
    if text := text_of(runs.objective.metric):
        return f"neutral text {text} ({neutral_sources(runs.launch.params).get(text, '')})"
    return runs.launch.params.get(f"{run_params.VALIDATION}source", "")


def _neutral_texts(params: Mapping[str, str]) -> str:
    return "; ".join(f"{text} ({source})" for text, source in neutral_sources(params).items())


def _mask_text(coverage: str, patterns: Sequence[str]) -> str:
    """Return a recorded coverage as what is masked: ``2:4 mask on all of the decoder blocks' matrix weights``."""
    share, _, rest = coverage.removeprefix("prunes ").partition(" ")
    if not rest or not coverage.startswith("prunes "):
        return coverage
    return f"{', '.join(patterns)} mask on {'all' if share == '100%' else share} {rest}".strip()


def _write(document: Document, folder: Path) -> None:
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text(html_text(document), encoding="utf-8")
    (folder / "report.md").write_text(markdown_text(document), encoding="utf-8")
    (folder / "report.json").write_text(json_text(document), encoding="utf-8")
    for table in document.every_table:
        (folder / "tables" / f"{table.key}.csv").write_text(csv_text(table), encoding="utf-8")
        for name, text in latex_files(for_pages(table)).items():
            (folder / "tables" / name).write_text(text, encoding="utf-8")
    for figure in document.figures:
        if not figure.skipped:
            for kind, drawing in (("svg", figure.svg), ("png", figure.png), ("pdf", figure.pdf)):
                (folder / "figures" / f"{figure.key}.{kind}").write_bytes(drawing)


def _refuse_foreign_folder(output: Path) -> None:
    """Refuse to replace anything that is not a report."""
    if not output.exists():
        return
    if not output.is_dir():
        raise ReportError(f"{output} is a file; expected a folder for the report")
    for entry in sorted(output.rglob("*")):
        place = entry.relative_to(output)
        if not _is_of_report(place, is_folder=entry.is_dir()):
            raise ReportError(f"{output} holds {place}, which is not part of a report; give a new or empty folder")


def _is_of_report(place: Path, *, is_folder: bool) -> bool:
    if is_folder or place.as_posix() in PAGES:
        return place.as_posix() in (*FOLDERS, *PAGES)
    return place.suffix in FOLDERS.get(place.parent.as_posix(), ())


def _put_in_place(folder: Path, output: Path) -> None:
    if output.exists():
        output.replace(folder / "previous")
    try:
        (folder / "new").replace(output)
    except OSError:
        if (folder / "previous").exists():
            (folder / "previous").replace(output)
        raise


def _report_at(output: Path, document: Document) -> ReportFiles:
    return ReportFiles(
        html=output / "report.html",
        markdown=output / "report.md",
        tables=sorted((output / "tables").iterdir()),
        figures=sorted((output / "figures").iterdir()),
        headline=(*(() if document.screen is None else (document.screen.verdict,)), *document.headline),
        winners=document.winners,
    )


__all__ = ["UI_BASE", "ReportError", "ReportFiles", "document_of", "write_document", "write_report"]

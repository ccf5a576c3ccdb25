"""Compare several studies in one table with chosen rows, columns and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from nmlab.reports.analysis.comparability import refuse_mixed
from nmlab.reports.analysis.compared_studies import (
    ComparedConfiguration,
    differences_between,
    evidence_of,
    read_studies,
)
from nmlab.reports.analysis.cross_tabulation import cross_tabulation, layout_of
from nmlab.reports.narrative.provenance import moment_text
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.store import open_store
from nmlab.reports.render import csv_text, html_text, latex_text, markdown_text, table_json
from nmlab.reports.render.document import Document, RunLinks
from nmlab.reports.tables.pivot import pivot_table
from nmlab.reports.values import ReportTable, with_notes
from nmlab.trials.contract.near_names import unknown_name

__all__ = ["FORMATS", "Compared", "compare", "rendered"]

FORMATS = ("html", "md", "tex", "csv", "json")
UI_BASE = "http://127.0.0.1:5000"


@dataclass(frozen=True, slots=True)
class Compared:
    """The result of a comparison of studies: a document with one table."""

    document: Document

    def text(self, form: str) -> str:
        """Return the comparison in one of the formats.

        Raises:
            ReportError: an unknown format.
        """
        return rendered(self.document, form=form)


def compare(
    studies: Sequence[str],
    *,
    tracking_uri: str,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    metrics: Sequence[str] = (),
    mixed: bool = False,
    ui_base: str = UI_BASE,
) -> Compared:
    """Put the configurations of several studies into one table.

    Args:
        studies: names of studies, each with ``@launch`` where not the newest launch is meant.
        tracking_uri: the MLflow store to read.
        rows: dimensions of the rows: ``study``, ``method``, ``pattern``, ``role`` or a setting.
        columns: dimensions of the columns, from the same names.
        metrics: the metrics to show; by default the one that the first study reports, usually ``eval/perplexity``.
        mixed: allow runs that were not evaluated alike, or with other versions, in one table.
        ui_base: address of the MLflow user interface that links lead to.

    Raises:
        ReportError: an unknown study, launch, row, column or metric (with the nearest names), a study without a
            finished run, a corrupted artifact, or runs that were not evaluated alike where ``mixed`` does not allow it.
    """
    if not studies:
        raise ReportError("name at least one study to compare")
    store = open_store(tracking_uri)
    read = read_studies(store, studies=studies)
    members = [member for study in read for member in study.members]
    layout = layout_of(members, rows=rows, columns=columns, metrics=metrics)
    found = differences_between(members, dimensions=layout.dimensions, metrics=layout.metrics)
    warnings = refuse_mixed(found, mixed=mixed)
    tabulated = cross_tabulation(members, layout=layout, evidence=evidence_of(store, studies=read))
    table = with_notes(pivot_table(tabulated, members=members), notes=warnings)
    return Compared(_document(table, members=members, warnings=warnings, ui_base=ui_base))


def _document(
    table: ReportTable, *, members: Sequence[ComparedConfiguration], warnings: tuple[str, ...], ui_base: str
) -> Document:
    """Return the table as a document whose numbers link to the runs of their own study."""
    experiments = {run_id: member.experiment_id for member in members for run_id in member.item.run_ids}
    launches = {member.study: member.launch for member in members}
    return Document(
        study=", ".join(launches),
        facts=tuple((f"launch of {study}", launch) for study, launch in launches.items()),
        headline=(),
        warnings=warnings,
        tables=(table,),
        figures=(),
        provenance=(),
        links=RunLinks(ui_base=ui_base, experiment_id=members[0].experiment_id, experiments=experiments),
        written=datetime.now(tz=UTC),
    )


def rendered(document: Document, *, form: str) -> str:
    """Return a document of one table in one of the formats; only HTML says when it was written.

    Raises:
        ReportError: an unknown format.
    """
    table = document.tables[0]
    if form == "html":
        return html_text(document)
    if form == "md":
        return markdown_text(document).replace(f"Report written {moment_text(document.written)}\n", "")
    writers = {"tex": latex_text, "csv": csv_text, "json": table_json}
    if form not in writers:
        raise ReportError(unknown_name(form, kind="format", known=FORMATS))
    return writers[form](table)

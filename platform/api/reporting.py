"""Write the comparison report of a study, or of all studies, from MLflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

from nmlab.platform.api.named_results import GivenLaunch, launch_texts
from nmlab.platform.api.places import local_path, results_folder, store_uri
from nmlab.platform.api.rendering import html_facts, html_page
from nmlab.trials.contract.run_artifacts import REPORT_FOLDER
from nmlab.trials.contract.values import JsonObject

POOLED_REPORT_FOLDER = "pooled-report"
"""The report of several launches of a study, beside that of one."""
_LARGEST_PAGE = 8 * 2**20


@dataclass(frozen=True)
class Report:
    """The files of a report that was written. In a notebook its page is shown.

    Attributes:
        html: the page.
        markdown: the same as Markdown.
        tables: its tables as CSV and LaTeX.
        figures: its figures as SVG and PNG.
        headline: its findings, in two to five sentences.
    """

    html: Path
    markdown: Path = field(repr=False)
    tables: tuple[Path, ...] = field(repr=False)
    figures: tuple[Path, ...] = field(repr=False)
    headline: tuple[str, ...]

    def record(self) -> JsonObject:
        """Return the files and the findings as plain values, as ``nmlab report --json`` prints them."""
        return {**vars(self), "tables": list(self.tables), "figures": list(self.figures)}

    def __str__(self) -> str:
        return "\n".join((*self.headline, f"report: {self.html}"))

    def _repr_html_(self) -> str:
        facts = html_facts("Report", {"found": " ".join(self.headline), "page": self.html})
        page = self.html.read_text(encoding="utf-8")
        return facts + (html_page(page) if len(page) <= _LARGEST_PAGE else "")


@dataclass(frozen=True)
class ReportIndex:
    """The reports of all studies of a store, and the page that links to them.

    Attributes:
        html: the page.
        reports: the studies that have a report.
        problems: why others have none, by study.
    """

    html: Path
    reports: tuple[str, ...]
    problems: Mapping[str, str]

    def record(self) -> JsonObject:
        """Return it as plain values, as ``nmlab report --json`` prints it."""
        return {"index": self.html, "reports": list(self.reports), "problems": dict(self.problems)}

    def _repr_html_(self) -> str:
        return html_facts("Reports", {"page": self.html, "studies": ", ".join(self.reports), **self.problems})


@overload
def report(
    study: GivenLaunch | Sequence[GivenLaunch],
    *,
    launch: str | None = None,
    output: str | Path | None = None,
    mixed: bool = False,
    public: bool = False,
    results: str | Path | None = None,
    tracking_uri: str | None = None,
) -> Report: ...


@overload
def report(
    study: None = None,
    *,
    launch: None = None,
    output: str | Path | None = None,
    mixed: bool = False,
    public: bool = False,
    results: str | Path | None = None,
    tracking_uri: str | None = None,
) -> ReportIndex: ...


@overload
def report(
    study: GivenLaunch | Sequence[GivenLaunch] | None = None,
    *,
    launch: str | None = None,
    output: str | Path | None = None,
    mixed: bool = False,
    public: bool = False,
    results: str | Path | None = None,
    tracking_uri: str | None = None,
) -> Report | ReportIndex: ...


def report(
    study: GivenLaunch | Sequence[GivenLaunch] | None = None,
    *,
    launch: str | None = None,
    output: str | Path | None = None,
    mixed: bool = False,
    public: bool = False,
    results: str | Path | None = None,
    tracking_uri: str | None = None,
) -> Report | ReportIndex:
    """Write the report of a study, or of all studies, from MLflow: HTML, Markdown, CSV, LaTeX, JSON and figures.

    Args:
        study: a study (its newest launch), a launch, its folder, or a result; or several launches of one study, whose
            runs are pooled, each trial counted once; without one, every study of the store, and an index page.
        launch: a launch of the study; by default the newest.
        output: the folder to write; by default ``results/STUDY/report``, of several launches
            ``results/STUDY/pooled-report``, of all studies ``results/reports``. A report that is there is replaced,
            anything else is refused.
        mixed: allow runs that were not evaluated alike; the report marks them.
        public: leave out user names, names and addresses of machines, and folders.
        results: the folder for launches and reports; by default ``NMLAB_RESULTS``, else ``results``.
        tracking_uri: the MLflow store; by default ``MLFLOW_TRACKING_URI``, else ``sqlite:///nmlab.db``.

    Returns:
        The report, or the index of all reports.

    Raises:
        ReportError: a store that can't be read, an unknown study or launch, no finished run, runs that were not
            evaluated alike, or a folder that can't be written or holds something else.
        ValueError: launches of several studies.

    Example:
        >>> import nmlab
        >>> nmlab.report("quickstart").headline  # doctest: +SKIP
        >>> nmlab.report(["quickstart-20261130-101500", "quickstart-20261130-141500"])  # doctest: +SKIP
    """
    from nmlab.reports.index import write_index
    from nmlab.reports.report import write_report

    uri, folder = store_uri(tracking_uri), results_folder(results)
    given = None if output is None else local_path(output, what="output folder")
    if study is not None:
        own, named = _meant(study, launch, tracking_uri=uri)
        place = given or folder / own / (REPORT_FOLDER if len(named) == 1 else POOLED_REPORT_FOLDER)
        chosen = named[0] if len(named) == 1 else named
        written = write_report(own, tracking_uri=uri, output=place, launch=chosen, mixed=mixed, public=public)
        files = (tuple(written.tables), tuple(written.figures))
        return Report(written.html, written.markdown, *files, tuple(written.headline))
    if launch is not None:
        raise ValueError(f"--launch {launch}: expected its STUDY too")
    page, entries = write_index(tracking_uri=uri, output=given or folder / "reports", mixed=mixed, public=public)
    problems = {entry.study: entry.problem for entry in entries if entry.problem}
    return ReportIndex(page, tuple(entry.study for entry in entries if entry.document is not None), problems)


def _meant(
    given: GivenLaunch | Sequence[GivenLaunch], launch: str | None, *, tracking_uri: str
) -> tuple[str, list[str | None]]:
    """Return the study and its launches that are reported; None is the newest.

    Raises ``ValueError`` for launches of several studies.
    """
    from nmlab.platform.tracking.named_launch import launch_in_store

    texts = launch_texts(given)
    if launch is not None and len(texts) > 1:
        raise ValueError(f"--launch {launch}: expected one STUDY; several launches are given by their names")
    found = [
        launch_in_store(text if launch is None else f"{text}@{launch}", tracking_uri=tracking_uri) for text in texts
    ]
    studies = list(dict.fromkeys(study for study, _ in found))
    if len(studies) > 1:
        raise ValueError(
            f"launches of {' and '.join(studies)}: a report pools launches of one study; nmlab compare sets several "
            "side by side"
        )
    return studies[0], [named for _, named in found]

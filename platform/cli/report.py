"""``nmlab report``: write the comparison report from MLflow."""

from pathlib import Path
from typing import Annotated

import typer

from nmlab.platform.cli.options import DEFAULT_URI, Json, Mixed, Results, TrackingUri, console, local_path, print_json
from nmlab.trials.contract.run_artifacts import REPORT_FOLDER

Study = Annotated[
    str | None,
    typer.Argument(help="Name of a study (its MLflow experiment). Default: every study, and an index page."),
]


def report(
    study: Study = None,
    launch: Annotated[str | None, typer.Option("--launch", help="A launch of the study. Default: the newest.")] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder to write to. Default: results/STUDY/report, or results/reports.",
            callback=local_path("output folder"),
        ),
    ] = None,
    mixed: Mixed = False,
    public: Annotated[
        bool, typer.Option("--public", help="Leave out user names, names and addresses of machines, and folders.")
    ] = False,
    results: Results = Path("results"),
    tracking_uri: TrackingUri = DEFAULT_URI,
    as_json: Json = False,
) -> None:
    """Write the report of a study, or of all studies, from MLflow: HTML, Markdown, CSV, LaTeX, JSON and figures.

    Example: nmlab report quickstart --output quickstart-report
    """
    if study is None:
        if launch is not None:
            raise ValueError(f"--launch {launch}: expected its STUDY too")
        _all(output or results / "reports", tracking_uri, mixed=mixed, public=public, as_json=as_json)
        return
    from nmlab.reports.report import write_report

    folder = output or results / study / REPORT_FOLDER
    written = write_report(study, tracking_uri=tracking_uri, output=folder, launch=launch, mixed=mixed, public=public)
    if as_json:
        print_json({name: getattr(written, name) for name in written.__slots__})
        return
    for sentence in written.headline:
        console().print(sentence, markup=False)
    console().print(f"report: {written.html}", markup=False)


def _all(output: Path, tracking_uri: str, *, mixed: bool, public: bool, as_json: bool) -> None:
    """Write the reports of all studies and an index page."""
    from nmlab.reports.index import write_index

    page, entries = write_index(tracking_uri=tracking_uri, output=output, mixed=mixed, public=public)
    problems = {entry.study: entry.problem for entry in entries if entry.problem}
    if as_json:
        written = [entry.study for entry in entries if entry.document is not None]
        print_json({"index": page, "reports": written, "problems": problems})
        return
    for study, problem in problems.items():
        console(stderr=True).print(f"{study}: {problem}", markup=False)
    console().print(f"index: {page}", markup=False)

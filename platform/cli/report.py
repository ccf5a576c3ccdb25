"""``nmlab report``: write the comparison report from MLflow."""

from pathlib import Path
from typing import Annotated

import typer

from nmlab.platform.cli.options import DEFAULT_URI, Json, Results, TrackingUri, console, print_json


def report(
    study: Annotated[str, typer.Argument(help="Name of the study, which is its MLflow experiment.")],
    launch: Annotated[str | None, typer.Option("--launch", help="A launch of it; the newest without.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder to write to; results/STUDY/LAUNCH/report without."),
    ] = None,
    results: Results = Path("results"),
    tracking_uri: TrackingUri = DEFAULT_URI,
    as_json: Json = False,
) -> None:
    """Write a study's report (HTML, Markdown, CSV, LaTeX, figures) from what MLflow holds.

    Example: nmlab report quickstart --output quickstart-report
    """
    from nmlab.reports.report import write_report

    folder = output or results / study / "report"
    written = write_report(study, tracking_uri=tracking_uri, output=folder, launch=launch)
    if as_json:
        print_json(vars(written))
        return
    for sentence in written.headline:
        console().print(sentence, markup=False)
    console().print(f"report: {written.html}", markup=False)

"""``nmlab report``: write the comparison report from MLflow."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nmlab.platform.cli.completion import complete_launch
from nmlab.platform.cli.options import DEFAULT_URI, Json, Mixed, Results, TrackingUri, console, local_path, print_json

if TYPE_CHECKING:
    from nmlab.platform.api.reporting import Report, ReportIndex

Studies = Annotated[
    list[str] | None,
    typer.Argument(
        help="A study (its newest launch), a launch, or its folder; or several launches of one study, whose runs are "
        "pooled. Default: every study, and an index page.",
        autocompletion=complete_launch,
    ),
]


def report(
    study: Studies = None,
    *,
    launch: Annotated[
        str | None,
        typer.Option("--launch", help="A launch of the study. Default: the newest.", autocompletion=complete_launch),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder to write to. Default: results/STUDY/report, results/STUDY/pooled-report or results/reports.",
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
    from nmlab.platform.api import reporting

    written = reporting.report(
        study or None,
        launch=launch,
        output=output,
        mixed=mixed,
        public=public,
        results=results,
        tracking_uri=tracking_uri,
    )
    if as_json:
        print_json(written.record())
    else:
        _print_written(written)


def _print_written(written: "Report | ReportIndex") -> None:
    from nmlab.platform.api import reporting

    if isinstance(written, reporting.Report):
        for sentence in written.headline:
            console().print(sentence, markup=False)
        console().print(f"report: {written.html}", markup=False)
    else:
        for name, problem in written.problems.items():
            console(stderr=True).print(f"{name}: {problem}", markup=False)
        console().print(f"index: {written.html}", markup=False)

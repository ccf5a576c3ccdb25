"""``nmlab compare``: several studies in one table, from MLflow alone."""

from pathlib import Path
from typing import Annotated

import typer

import nmlab
from nmlab.platform.cli.completion import complete_launch
from nmlab.platform.cli.options import DEFAULT_URI, Mixed, TrackingUri, local_path

Studies = Annotated[
    list[str],
    typer.Argument(help="Studies (their newest launches), launches, or their folders.", autocompletion=complete_launch),
]


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()] if text else []


def compare(
    studies: Studies,
    *,
    rows: Annotated[
        str | None, typer.Option("--rows", metavar="A,B", help="What rows are: study, method, pattern or settings.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="A,B", help="What columns are: the same choices.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="A,B", help="Metrics to show, joined by commas.")
    ] = None,
    form: Annotated[str, typer.Option("--format", help="html, md, tex, csv or json.")] = "md",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write instead of printing.", callback=local_path("output file")),
    ] = None,
    mixed: Mixed = False,
    tracking_uri: TrackingUri = DEFAULT_URI,
) -> None:
    """Compare the configurations of studies in one table. Rows and columns are study, method, pattern or a setting.

    Example: nmlab compare maskpro-alpha maskpro-initial-masks --rows method,alpha --columns study --format tex
    """
    from nmlab.platform.api import comparing

    found = comparing.compare(
        studies,
        rows=_names(rows),
        columns=_names(columns),
        metrics=_names(metric),
        mixed=mixed,
        tracking_uri=tracking_uri,
    )
    text = found.text(form)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise nmlab.ReportError(f"the table can't be written to {output}: {error.strerror or error}") from error
    typer.echo(f"table: {output}")

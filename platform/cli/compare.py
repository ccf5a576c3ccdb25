"""``nmlab compare``: two sides by tests, or several studies in one table, from MLflow alone."""

from pathlib import Path
from typing import Annotated

import typer

from nmlab.platform.cli.completion import complete_launch
from nmlab.platform.cli.options import DEFAULT_URI, Mixed, TrackingUri, local_path

Studies = Annotated[
    list[str],
    typer.Argument(
        metavar="A B",
        help="A study (its newest launch), a launch or its folder each; launches of one study joined by commas are "
        "pooled. A colon names a part: LAUNCH:maskpro, LAUNCH:alpha=0.97, LAUNCH:best, LAUNCH:KEY; :susi is of the "
        "launch before.",
        autocompletion=complete_launch,
    ),
]


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()] if text else []


def compare(
    studies: Studies,
    *,
    rows: Annotated[
        str | None,
        typer.Option(
            "--rows",
            metavar="NAME,NAME",
            help="What rows are: study, method, pattern, role or settings. Of A and B: what makes two configurations "
            "a pair. Default for A and B: equal settings, else the best of each method.",
        ),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="NAME,NAME", help="Show one table with these columns: the same choices."),
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="NAME,NAME", help="Metrics to show, joined by commas.")
    ] = None,
    at_equal: Annotated[
        str,
        typer.Option(
            "--at-equal",
            metavar="BUDGET",
            help="Compare A and B at the tokens, forwards, backwards, seconds or steps that the cheaper run spent.",
            show_default=False,
        ),
    ] = "",
    form: Annotated[
        str, typer.Option("--format", help="html, md, tex, csv or json. Default: by the file, else md.")
    ] = "",
    table: Annotated[
        str,
        typer.Option(
            "--table",
            help="The table in tex, csv and json: differences, not_compared, costs or settings_apart.",
            show_default=False,
        ),
    ] = "",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write instead of printing; .svg and .png are the figure.",
            callback=local_path("output file"),
        ),
    ] = None,
    mixed: Mixed = False,
    tracking_uri: TrackingUri = DEFAULT_URI,
) -> None:
    """Compare A with B by tests: difference, interval, cost and settings. Or show studies in one table.

    Two launches, methods or configurations are A and B. One or several studies, or --columns, are one table.

    Example: nmlab compare quickstart:maskpro :susi --output comparison.html
    """
    from nmlab.platform.api import comparing

    found = comparing.compare(
        studies,
        rows=_names(rows),
        columns=_names(columns),
        metrics=_names(metric),
        at_equal=at_equal,
        mixed=mixed,
        tracking_uri=tracking_uri,
    )
    if output is None:
        typer.echo(found.text(form or "md", table=table), nl=False)
        return
    written = found.write(output, form=form, table=table)
    if found.verdict:
        typer.echo(found.verdict)
    typer.echo(f"comparison: {written}")

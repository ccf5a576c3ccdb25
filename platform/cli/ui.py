"""``nmlab ui``: browse the runs in MLflow's web interface."""

from typing import Annotated

import typer

from nmlab.platform.cli.completion import complete_launch
from nmlab.platform.cli.options import DEFAULT_URI, TrackingUri, console


def ui(
    study: Annotated[
        str | None,
        typer.Argument(
            help="A study, a launch, or its folder, whose table of runs is prepared and opened.",
            show_default=False,
            autocompletion=complete_launch,
        ),
    ] = None,
    *,
    tracking_uri: TrackingUri = DEFAULT_URI,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 5000,
) -> None:
    """Serve MLflow's web pages on the tracking store until Ctrl-C. For a remote store only addresses are printed.

    Of a study: the table of its runs, the means of its configurations over their seeds, and what its launch found.

    Example: nmlab ui quickstart --port 5001
    """
    from nmlab.platform.api import browsing

    try:
        browsing.ui(
            study,
            host=host,
            port=port,
            tracking_uri=tracking_uri,
            show=lambda address: console().print(address, markup=False),
        )
    except RuntimeError as error:
        console(stderr=True).print(f"nmlab: {error}")
        raise typer.Exit(1) from error

"""``nmlab ui``: browse the runs in MLflow's web interface."""

import os
import sys
from typing import Annotated

import typer

from nmlab.platform.cli.options import DEFAULT_URI, TrackingUri, console
from nmlab.platform.cli.served import serve


def ui(
    study: Annotated[str | None, typer.Argument(help="A study whose page is printed.", show_default=False)] = None,
    tracking_uri: TrackingUri = DEFAULT_URI,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 5000,
) -> None:
    """Serve MLflow's web pages on the tracking store until Ctrl-C. For a remote store only its address is printed.

    Example: nmlab ui quickstart --port 5001
    """
    from nmlab.platform.tracking.address import absolute_uri, check_store, experiment_id
    from nmlab.reports.read.mlflow_access.library import apply_settings

    uri = absolute_uri(tracking_uri)
    check_store(uri)
    place = f"#/experiments/{experiment_id(study, uri=uri)}/runs" if study else ""
    if uri.startswith("http"):
        console().print(f"{uri}/{place}", markup=False)
        return
    console().print(f"http://{host}:{port}/{place}", markup=False)
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        host,
        "--port",
        str(port),
    ]
    # Every user sees the command line of a process, and an address may hold a password.
    apply_settings()
    store = {**os.environ, "MLFLOW_BACKEND_STORE_URI": uri}
    if serve([*command, "--workers", "1"], environment=store):
        raise typer.Exit(1)

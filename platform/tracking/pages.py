"""MLflow's web pages on a tracking store."""

import os
import sys

from nmlab.platform.process.served import serve
from nmlab.platform.tracking.address import absolute_uri, check_store, experiment_id
from nmlab.platform.tracking.named_launch import launch_in_store
from nmlab.reports.read.mlflow_access.library import apply_settings


def page_of(study: str | None, *, uri: str, host: str, port: int) -> str:
    """Return the address of the page of a study, or of the store; raises ``ValueError`` if there is none."""
    uri = absolute_uri(uri)
    check_store(uri)
    place = f"#/experiments/{experiment_id(launch_in_store(study, tracking_uri=uri)[0], uri=uri)}/runs" if study else ""
    return f"{uri}/{place}" if uri.startswith("http") else f"http://{host}:{port}/{place}"


def serve_pages(*, uri: str, host: str, port: int) -> None:
    """Serve the pages until this process is asked to end; raises ``RuntimeError`` if the server ends with an error."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    # Every user sees the command line of a process, and an address may hold a password.
    apply_settings()
    code = serve(command, environment={**os.environ, "MLFLOW_BACKEND_STORE_URI": absolute_uri(uri)})
    if code:
        raise RuntimeError(f"MLflow's server at {host}:{port} ended with exit code {code}")

"""The one place that imports MLflow, so that it is never imported with its telemetry on.

Importing nmlab imports no MLflow and changes no environment variable. With the first use of MLflow the settings are
made for the rest of the process, not for the import alone: MLflow reads its timeouts again with each request, and a
process that it starts decides on telemetry anew. A choice that the user made in the environment stays.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Param, RunTag
    from mlflow.exceptions import MlflowException

_FILE = "sqlite:///"
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",  # creating a store needs no message
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it would break JSON output, and may contain a password
    # MLflow retries an unreachable server for minutes; the writer of records retries later.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def client(uri: str) -> "MlflowClient":
    """Return MLflow's client of a store, which sends nothing yet.

    MLflow keeps one store for each address, so the file of a relative one is looked up in the present folder here.
    """
    _prepare()
    from mlflow import MlflowClient

    if uri.startswith(_FILE):
        uri = f"{_FILE}{Path(uri.removeprefix(_FILE)).absolute()}"
    return MlflowClient(tracking_uri=uri)


def metric(name: str, value: float, *, time: int, step: int) -> "Metric":
    """Return one value of a metric, at ``time`` in milliseconds since 1970."""
    _prepare()
    from mlflow.entities import Metric

    return Metric(name, value, time, step)


def param(name: str, value: str) -> "Param":
    """Return a parameter of a run."""
    _prepare()
    from mlflow.entities import Param

    return Param(name, value)


def tag(name: str, text: str) -> "RunTag":
    """Return a tag of a run."""
    _prepare()
    from mlflow.entities import RunTag

    return RunTag(name, text)


def dataset_input(name: str, *, digest: str, profile: str, use: str) -> "DatasetInput":
    """Return a data set as a run's input: its name, its digest, its settings as JSON, and what it is used for."""
    _prepare()
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source = json.dumps({"uri": name})
    entity = Dataset(name=name, digest=digest, source_type="text", source=source, profile=profile)
    return DatasetInput(entity, [InputTag("mlflow.data.context", use)])


def server_app() -> object:
    """Return the application of MLflow's server, which reads its store from the environment."""
    _prepare()
    from mlflow.server.fastapi_app import app

    return app


def error_type() -> "type[MlflowException]":
    """Return the base class of MLflow's errors."""
    _prepare()
    from mlflow.exceptions import MlflowException

    return MlflowException


def apply_settings() -> None:
    """Set the variables that the user did not set, for this process and its children; without importing MLflow."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment for the duration of a block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@cache
def _prepare() -> None:
    """Make the settings before MLflow is imported; where it was imported before, stop its telemetry now.

    MLflow's own function reads the environment again and removes the client where telemetry is off.
    """
    apply_settings()
    logging.getLogger("alembic").setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints the traceback of what it raises
    if "mlflow" in sys.modules:
        try:
            from mlflow.telemetry import set_telemetry_client
        except ImportError:  # an older MLflow has none
            return
        set_telemetry_client()  # type: ignore[no-untyped-call] # MLflow declares no types for it

"""Environment settings for MLflow; import this module before MLflow, wherever MLflow is imported.

MLflow starts its telemetry on import, unless the environment already forbids it. A choice that the user made in the
environment stays.
"""

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",  # creating a store needs no message
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # it would break JSON output, and may contain a password
    # MLflow retries an unreachable server for minutes; the writer of records retries later.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def apply_settings() -> None:
    """Set the variables that the user did not set, for this process and its children."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it prints the traceback of what it raises
    if "mlflow" in sys.modules:
        _stop_telemetry()


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


def _stop_telemetry() -> None:
    """Remove the telemetry client of an MLflow that was imported before this module.

    MLflow's own function reads the environment again and removes the client where telemetry is off.
    """
    try:
        from mlflow.telemetry import set_telemetry_client
    except ImportError:  # an older MLflow has none
        return
    set_telemetry_client()


apply_settings()

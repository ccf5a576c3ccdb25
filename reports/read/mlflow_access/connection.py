"""Clients of tracking stores, returned only once a store has answered; MLflow alone waits for minutes or hours."""

import socket
from typing import TYPE_CHECKING

import sqlalchemy

from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.mlflow_access import library
from nmlab.reports.read.mlflow_access.addresses import DATABASES, EXPECTED, canonical, check_address, dialect, shown
from nmlab.reports.read.mlflow_access.failures import reason
from nmlab.trials.contract import run_tags

if TYPE_CHECKING:
    from mlflow import MlflowClient

CONNECT_SECONDS = 5.0
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_DRIVERS = {"psycopg": "psycopg[binary]", "psycopg2": "psycopg2-binary", "MySQLdb": "mysqlclient"}
"""Packages whose name differs from that of their module."""


def connect(uri: str) -> "MlflowClient":
    """Return MLflow's client of a store that has answered a request.

    The request is for one experiment, by MLflow's own client, and so uses the same credentials, certificates and
    proxies as every later call.

    Raises:
        ReportError: one line that names the store, without its password, and says why it cannot be used.
    """
    uri = canonical(uri)
    check_address(uri)
    if dialect(uri) in DATABASES:
        _check_database(uri)
    with library.environment(_PATIENCE):
        try:
            client = library.client(uri)
            client.search_experiments(max_results=1)
        except Exception as error:  # MLflow raises errors of many kinds on unexpected answers
            raise unusable(uri, reason(error, uri=uri)) from error
    return client


def check_writing(client: "MlflowClient", study: str, *, uri: str) -> None:
    """Check that a store can be written: create the study's experiment, if it is new, and set its tag.

    A launch writes the same first, and nothing else is written.

    Raises:
        ReportError: as :func:`connect`.
    """
    with library.environment(_PATIENCE):
        try:
            found = client.get_experiment_by_name(study)
            if found is not None and found.lifecycle_stage != "active":
                client.restore_experiment(found.experiment_id)
            experiment = client.create_experiment(study) if found is None else found.experiment_id
            if experiment:
                client.set_experiment_tag(experiment, run_tags.STUDY, study)
        except Exception as error:
            raise unusable(uri, f"cannot be written: {reason(error, uri=uri)}") from error
    if not experiment:
        raise unusable(uri, "there is no MLflow at this address: creating an experiment returned no id")


def unusable(uri: str, why: str) -> ReportError:
    """Return the error for a store that cannot be used."""
    return ReportError(f"tracking store {shown(uri)!r}: {why}")


def _check_database(uri: str) -> None:
    """Connect once; MLflow itself retries for minutes, even with a wrong password."""
    try:
        url = sqlalchemy.make_url(uri)
        engine = sqlalchemy.create_engine(url)
    except ModuleNotFoundError as error:
        package = _DRIVERS.get(error.name or "", error.name)
        raise unusable(uri, f"its driver {error.name!r} is not installed; try `pip install {package}`") from error
    except (sqlalchemy.exc.SQLAlchemyError, ValueError) as error:
        raise unusable(uri, f"{EXPECTED} ({reason(error, uri=uri)})") from error
    try:
        if url.host:
            port = url.port or _PORTS[dialect(uri)]
            socket.create_connection((url.host, port), timeout=CONNECT_SECONDS).close()
        engine.connect().close()
    except Exception as error:  # every driver has its own errors
        why = getattr(error, "orig", None) or error
        detail = (getattr(why, "strerror", None) or reason(why, uri=uri)) if isinstance(why, Exception) else str(why)
        raise unusable(uri, f"does not answer: {detail}".replace(url.password or "\0", "***")) from error
    finally:
        engine.dispose()

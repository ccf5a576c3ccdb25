"""MLflow's web pages on a tracking store: the address of a study's runs, and a server for a store without one."""

import logging
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from nmlab.platform.compat import mlflow_server
from nmlab.platform.compat.mlflow_pages import no_unused_workers, page_path, run_path
from nmlab.platform.compat.mlflow_server import OPENING, server_environment
from nmlab.platform.process.served import serve
from nmlab.platform.tracking.address import absolute_uri, check_store
from nmlab.platform.tracking.named_launch import launch_in_store
from nmlab.platform.tracking.saved_views import MEANS_VIEW, RUNS_VIEW, save_views
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.mlflow_access.addresses import is_server
from nmlab.reports.read.mlflow_access.library import apply_settings
from nmlab.reports.read.store import RunStore, newest_or_named, open_store

_ANSWER_S = 2.0
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # where a server of every address is asked
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PagesOfStudy:
    """Addresses of MLflow's pages: the first is the one to open. Without a study there is no other.

    Attributes:
        first: the table of a study's runs, or the list of all experiments.
        means: the same table, with the mean of each configuration over its seeds.
        launch: the page of a launch's run, with what was found.
    """

    first: str
    means: str = ""
    launch: str = ""


def pages_of(study: str | None, *, uri: str, host: str, port: int) -> PagesOfStudy:
    """Return the addresses of a study's pages, or that of the store; the study's views are saved if they are not.

    Raises:
        ValueError: there is no such store, study or launch.
    """
    uri = absolute_uri(uri)
    check_store(uri)
    base = f"{uri}/" if is_server(uri) else f"http://{_in_address(host)}:{port}/{OPENING}"
    if study is None:
        return PagesOfStudy(base)
    name, launch = launch_in_store(study, tracking_uri=uri)
    store = open_store(uri)
    experiment = store.experiment_id(name)
    parent = newest_or_named(store.launches(experiment), name=launch, study=name).info.run_id
    of_launch = f"{base}{run_path(experiment, parent)}"
    if not _has_views(store, experiment):
        return PagesOfStudy(f"{base}{page_path(experiment)}", launch=of_launch)
    runs, means = (page_path(experiment, view=view) for view in (RUNS_VIEW, MEANS_VIEW))
    return PagesOfStudy(f"{base}{runs}", f"{base}{means}", of_launch)


def _has_views(store: RunStore, experiment: str) -> bool:
    """Save the views of a study; without them, as in a store that may only be read, its page is plain."""
    try:
        return save_views(store, experiment)
    except ReportError as error:
        _log.warning("the table of runs has MLflow's own columns, because the store does not take a view: %s", error)
        return False


def serve_pages(*, uri: str, host: str, port: int, ready: Callable[[], None]) -> None:
    """Serve the pages until this process is asked to end.

    Args:
        uri: the store.
        host: address to listen on.
        port: port to listen on.
        ready: called once the pages answer.

    Raises:
        RuntimeError: the port is taken, or the server ended with an error.
    """
    if _answers(host, port):
        raise RuntimeError(f"port {port} of {host} is taken; choose another with --port")
    place = ["--host", host, "--port", str(port), "--log-level", "warning"]
    command = [sys.executable, "-m", "uvicorn", f"{mlflow_server.__name__}:{mlflow_server.app.__name__}", *place]
    apply_settings()
    # Every user sees the command line of a process, and an address may hold a password.
    own = {**no_unused_workers(), "PYTHONWARNINGS": "ignore"}  # MLflow imports what is deprecated
    environment = {**own, **os.environ, **server_environment(absolute_uri(uri))}
    code = serve(command, environment=environment, answers=lambda: _is_healthy(host, port), ready=ready)
    if code:
        raise RuntimeError(f"MLflow's server at {host}:{port} ended with exit code {code}")


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((_ANYWHERE.get(host, host), port), timeout=_ANSWER_S).close()
    except OSError:
        return False
    return True


def _is_healthy(host: str, port: int) -> bool:
    """Return whether MLflow's server answers; asked directly, whatever proxy the environment names."""
    try:
        url = f"http://{_in_address(_ANYWHERE.get(host, host))}:{port}/health"
        with build_opener(ProxyHandler({})).open(url, timeout=_ANSWER_S) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False

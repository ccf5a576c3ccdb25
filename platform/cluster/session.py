"""Start or join a Ray cluster, without Ray's output."""

import atexit
import logging
import math
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypedDict

import psutil

from nmlab.platform.cluster.connection_check import check_reachable
from nmlab.platform.cluster.joining import why_not_joined
from nmlab.platform.cluster.local_session import local_session
from nmlab.platform.compat.ray_core import session_folder
from nmlab.platform.failures import reason_line
from nmlab.platform.process.shutdown import bounded, end_processes, started_processes
from nmlab.trials.contract.log_levels import at_least

_log = logging.getLogger(__name__)
NAMESPACE = "nmlab"
CONNECTED = "connected"
"""The address that stands for the Ray that this process is connected to, whoever connected it."""
SHUTDOWN_SECONDS = 5.0
"""How long ``ray.shutdown`` may take; it takes one or two, and hangs where the head is gone."""
_EXIT_SECONDS = 0.5
"""How long Ray's processes get to end by themselves after that, before they are killed."""
_STARTS = 2
"""How often a local Ray is started before it is given up: on a busy machine Ray's own 30 s for a start may not do."""

# Read by Ray when it is imported or when its processes start.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",  # as Train has it for its controllers
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # the sweep has its own
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",  # those are lost actors; the journal says which
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # nmlab resumes from its own records
    "TUNE_MAX_PENDING_TRIALS_PG": "64",
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
}


class _Settings(TypedDict):
    """The arguments of ``ray.init`` that every session has."""

    namespace: str
    log_to_driver: bool
    logging_level: int


@contextmanager
def cluster(address: str | None = None, *, cpus: float = 1.0) -> Iterator[None]:
    """Join the cluster at ``address``, or start a local one of at least ``cpus``, until the context ends.

    A local cluster listens on this machine only and requires its token (see ``local_session``). A joined one keeps its
    settings, and the environment holds the authentication. With the address `CONNECTED` the connection of this process
    is used and stays: nothing is started, joined or shut down, and the cluster is as open as its owner made it.

    Raises ``ValueError`` with one line if the cluster cannot be joined: nothing answers at ``address``, its token or
    its versions differ, or this machine is not one of its nodes; if no local one starts; and if this process is
    connected already and another address is given.
    """
    with ExitStack() as stack:
        for name in _ENVIRONMENT.keys() - os.environ.keys():
            os.environ[name] = _ENVIRONMENT[name]
            stack.callback(os.environ.pop, name, None)
        _check_connection(address)
        if address == CONNECTED:
            stack.enter_context(_quiet())
        elif address is None:
            # Ray reads the variable for its own address when it is imported. Imported before the local session sets
            # that variable, it does not keep the value for a cluster that this process joins later.
            import ray  # noqa: F401

            folder = stack.enter_context(local_session())
            stack.enter_context(_connected(lambda quiet: _start(folder, cpus=cpus, quiet=quiet)))
        else:
            check_reachable(address)
            stack.enter_context(_connected(lambda quiet: _join(address, quiet=quiet)))
        yield


@contextmanager
def _connected(connect: Callable[[_Settings], None]) -> Iterator[None]:
    before = {process.pid for process in started_processes()}
    with _quiet(), ExitStack() as stack:
        connect({"namespace": NAMESPACE, "log_to_driver": False, "logging_level": logging.ERROR})
        stack.callback(_shut_down, before)
        yield


@contextmanager
def _quiet() -> Iterator[None]:
    """Let Ray log errors alone."""
    import ray  # noqa: F401 - sets the levels of its loggers when it is imported

    # Tune's logger calls a trial incomplete that another actor completed.
    with at_least(logging.ERROR, "ray"), at_least(logging.CRITICAL, "ray.tune.tune"):
        yield


def is_connected() -> bool:
    """Return whether this process is connected to Ray, whoever connected it; Ray is not imported for it."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def connected_to() -> str | None:
    """Return HOST:PORT of the Ray that this process is connected to; None if there is none.

    Raises ``ValueError`` for a connection through Ray Client, whose process is not part of the cluster.
    """
    if not is_connected():
        return None
    import ray
    from ray.util.client import ray as through_client

    if through_client.is_connected():
        raise ValueError(
            "this process is connected through Ray Client (ray://); expected a process of the cluster: run it there as "
            "a job (`nmlab submit`), or in a Ray task"
        )
    return str(ray.get_runtime_context().gcs_address)


def started_here() -> bool:
    """Return whether this process started the Ray that it is connected to, which then ends with it."""
    with suppress(psutil.Error):
        return any(process.name() == "gcs_server" for process in started_processes())
    return False


def _check_connection(address: str | None) -> None:
    """Raise ``ValueError`` unless this process is connected to Ray exactly if ``address`` is `CONNECTED`."""
    if address == CONNECTED and not is_connected():
        raise ValueError("this process is not connected to Ray; call ray.init() first, or give no address")
    if address != CONNECTED and is_connected():
        raise ValueError(
            f"address {address or 'local'!r}: this process is already connected to Ray; call ray.shutdown() first"
        )


def _start(folder: Path, *, cpus: float, quiet: _Settings) -> None:
    for attempt in range(1, _STARTS + 1):
        try:
            _start_once(folder, cpus=cpus, quiet=quiet)
            return
        except Exception as error:  # Ray raises plain exceptions too
            if attempt == _STARTS:
                raise ValueError(_why_not_started(error)) from error
            _log.warning("Ray did not start (%s); it is started again", reason_line(error))


def _start_once(folder: Path, *, cpus: float, quiet: _Settings) -> None:
    import ray

    before = {process.pid for process in started_processes()}
    try:
        # One more than the replicas reserve, for the trial actors.
        ray.init(
            address="local",  # never join a cluster of this machine that was not asked for
            num_cpus=max(os.cpu_count() or 1, math.ceil(cpus)) + 1,
            include_dashboard=False,
            object_store_memory=200 * 2**20,
            **session_folder(folder),
            **quiet,
        )
    except BaseException:  # a signal too
        _shut_down(before)
        raise


def _why_not_started(error: Exception) -> str:
    return (
        f"no Ray starts on this machine in {_STARTS} attempts: {reason_line(error)} The load average is "
        f"{os.getloadavg()[0]:.0f} on {os.cpu_count()} cores; try again when the machine is less busy"
    )


def _join(address: str, *, quiet: _Settings) -> None:
    import ray

    connected = ray.is_initialized()
    try:
        ray.init(address=address, **quiet)
    except Exception as error:  # Ray raises plain exceptions too
        if not connected:
            ray.shutdown()  # so that another try starts from nothing
        raise ValueError(why_not_joined(error, address=address)) from error


def _shut_down(before: set[int]) -> None:
    """Shut Ray down in bounded time, and end the processes that it started and that are not in ``before``."""
    import ray

    started = [process for process in started_processes() if process.pid not in before]
    if not bounded(ray.shutdown, within=SHUTDOWN_SECONDS, name="ray-shutdown"):
        _log.info("Ray did not shut down within %.0f s; its processes are killed", SHUTDOWN_SECONDS)
        atexit.unregister(ray.shutdown)  # which would hang once more
    end_processes(started, within=_EXIT_SECONDS)

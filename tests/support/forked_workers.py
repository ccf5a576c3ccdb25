"""Ray's workers, each forked from a process that has imported what they need.

A worker imports Ray twice, and Tune, Train, torch or transformers: two to eight seconds of processor time for each of
the dozen workers of a launch. A process that has imported nmlab and is about to start Ray calls `fork_workers`. Ray
then starts a client (`forked_workers_client.py`) in place of each worker, which asks for a forked one.

    if (worker := fork_workers()) is not None:
        run_worker(worker)  # this process is a worker now

Ray reads whose worker a process is when it is imported. So each raylet has a process of its own that imports Ray and
forks the workers of that raylet.
"""

import atexit
import ctypes
import json
import os
import runpy
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

DOOR = "NMLAB_WORKERS_DOOR"
"""Names the socket that clients connect to; the workers of processes without it are set up by Ray."""
RAYLET = "RAY_RAYLET_PID"
_CLIENT = Path(__file__).with_name("forked_workers_client.py")
_PARENT_DEATH = 1  # PR_SET_PDEATHSIG
_NO_JOB = "ffffffff"
"""The job of a worker that is started before it is needed; it gets its job with its first task."""
_SEEDS_APART, _DRAWS_APART = 24, 200
_LOOK_SECONDS = 0.2
"""Between two looks which workers have ended."""


def fork_workers(folder: Path | None = None) -> list[str] | None:
    """Let the Ray that this process starts fork its workers; returns in each of them too, with its arguments.

    Sockets lie where only this user can reach them: in ``folder``, or in one that is removed when this process ends.
    """
    own = tempfile.mkdtemp(prefix="workers-", dir=folder)  # the path of a socket is short
    door = f"{own}/door"
    listener = _listener(door)
    if os.fork() == 0:
        _end_with_parent()
        return _serve_raylets(listener, door)
    listener.close()
    if folder is None:
        atexit.register(shutil.rmtree, own, ignore_errors=True)
    os.environ[DOOR] = door
    _start_clients()
    return None


def run_worker(arguments: Sequence[str]) -> None:
    """Be a worker, until it ends."""
    sys.argv = list(arguments)
    runpy.run_path(arguments[0], run_name="__main__")


def _listener(door: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(door)
    listener.listen(64)
    return listener


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _start_clients() -> None:
    """Let raylets of this process start the client where they would set up a worker."""
    from ray._private import services

    start = services.start_raylet

    @wraps(start)
    def start_with_clients(*given: Any, **named: Any) -> Any:
        if "PYTHONPATH" in (named.get("env_updates") or {}):  # its workers have other packages
            return start(*given, **named)
        (place,) = [place for place, value in enumerate(given) if str(value).endswith("/setup_worker.py")]
        return start(*given[:place], str(_CLIENT), *given[place + 1 :], **named)

    services.start_raylet = start_with_clients


def _serve_raylets(listener: socket.socket, door: str) -> list[str]:
    """Fork the process of each raylet, until this one is killed; returns in the process of each worker."""
    known: set[str] = set()
    while True:
        connection, _ = listener.accept()
        _, environment, _ = _request(connection)
        raylet = environment[RAYLET]
        if raylet not in known:
            known.add(raylet)
            own = _listener(f"{door}-{raylet}")
            if os.fork() == 0:
                listener.close()
                connection.close()
                _end_with_parent()
                _import_workers(environment)
                return _serve_workers(own)
            own.close()
        connection.close()  # the client may ask the raylet's own process now


def _import_workers(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update({**environment, "RAY_JOB_ID": _NO_JOB})
    import ray.train.v2._internal.execution.controller
    import ray.tune  # noqa: F401

    import nmlab.platform.dispatch.dispatcher
    import nmlab.platform.mask_parallel.coordinator
    import nmlab.platform.replicas.worker
    import nmlab.platform.tuning.trainable  # noqa: F401


def _serve_workers(listener: socket.socket) -> list[str]:
    """Fork workers until this process is killed; returns, with its arguments, in the process of each worker."""
    listener.settimeout(_LOOK_SECONDS)
    running: dict[int, socket.socket] = {}
    for number, connection in enumerate(_connections(listener, running)):
        connection.settimeout(None)
        arguments, environment, files = _request(connection)
        if child := os.fork():
            running[child] = connection
            for file in files:
                os.close(file)
            continue
        for other in (listener, connection, *running.values()):
            other.close()
        _become(environment, files=files, number=number)
        return arguments
    raise AssertionError("connections do not end")


def _connections(listener: socket.socket, running: dict[int, socket.socket]) -> Iterator[socket.socket]:
    """Yield the connection of each client, and close those of workers that have ended."""
    while True:
        for child in list(running):
            if os.waitpid(child, os.WNOHANG)[0]:
                running.pop(child).close()
        with suppress(TimeoutError):
            yield listener.accept()[0]


def _request(connection: socket.socket) -> tuple[list[str], dict[str, str], list[int]]:
    """Return what a client asks for: the arguments, the environment and the standard files of a worker."""
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    arguments, environment = json.loads(b"".join(iter(lambda: connection.recv(2**16), b"")))
    return arguments, environment, files


def _become(environment: dict[str, str], *, files: list[int], number: int) -> None:
    """Make this process that of a worker, with its environment and files."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for standard, file in enumerate(files):
        os.dup2(file, standard)
        os.close(file)
    os.environ.clear()
    os.environ.update(environment)
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [path for path in paths if path and path not in sys.path]
    from nmlab.trials.methods import registry

    registry.rescan()
    _draw_other_identifiers(number)


def _draw_other_identifiers(number: int) -> None:
    """Let Ray draw other identifiers here than in the other workers of this raylet.

    Each thread has a generator, seeded from a pool of the process in the order in which threads first draw. The pool is
    there before the fork, so each worker takes as many seeds from it as no other does, and some more for its threads.
    """
    from ray import WorkerID

    for _ in range(number * _SEEDS_APART):
        thread = threading.Thread(target=WorkerID.from_random)
        thread.start()
        thread.join()
    for _ in range(number * _DRAWS_APART):
        WorkerID.from_random()

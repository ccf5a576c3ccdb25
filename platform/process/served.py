"""Run a server as long as a verb runs; the server and its descendants end with the verb, however that ends."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FrameType

import psutil

from nmlab.platform.process.shutdown import SIGNALS, end_processes

_END_S = 3.0
_POLL_S = 0.1


def serve(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    answers: Callable[[], bool] = lambda: True,
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Run a command until it ends or this process is asked to end; return its exit code, 0 if this process was asked.

    Args:
        command: the program of the server, with its arguments.
        environment: its environment; by default that of this process.
        answers: asked every tenth of a second whether the server answers, until it does.
        ready: called once, when it answers.

    The command leads a session of its own, so that a terminal's Ctrl-C reaches it once, through this process. On
    Ctrl-C, SIGTERM or SIGHUP it and its descendants are asked to end, and killed after 3 seconds.
    """
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:
        asked.set()

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        with subprocess.Popen(command, env=environment, start_new_session=True) as server:
            while server.poll() is None and not asked.wait(_POLL_S) and not answers():
                pass
            if server.poll() is None and not asked.is_set():
                ready()
            while server.poll() is None and not asked.wait(_POLL_S):
                pass
            code = server.poll()
            _end(server.pid)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code or 0


def _end(leader: int) -> None:
    """End all processes of a session: descendants of its leader, and those whose parent has ended."""
    processes = _session(leader)
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    end_processes(processes, within=_END_S)
    end_processes(_session(leader))


def _session(leader: int) -> list[psutil.Process]:
    """Return the living processes of a session and their descendants."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found |= {each.pid: each for each in (process, *process.children(recursive=True))}
    return list(found.values())

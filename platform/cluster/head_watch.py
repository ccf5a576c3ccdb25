"""Watch the head node of the Ray cluster; without this, Ray ends a driver a minute after the head is lost."""

import logging
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from nmlab.platform.compat.ray_core import ask_head

_log = logging.getLogger(__name__)
UNREACHABLE_SECONDS = 8.0
"""Seconds after which a head counts as lost whose machine takes no connection."""
UNANSWERED_SECONDS = 45.0
"""Seconds after which a head counts as lost whose machine takes connections, but which sends no answer.

A head on an overloaded machine answers late, and a sweep there goes on. After 60 seconds Ray itself ends the driver.
"""
_REQUEST_SECONDS = 3.0
"""How long one connection or one request may take, so that several fit into the limits above."""
_PAUSE_SECONDS = 1.0
"""Pause between two requests."""


class HeadWatch:
    """Sends a request to the head once a second from a thread; another thread calls ``lost`` when no answer comes.

    Args:
        address: HOST:PORT of the head's GCS server.
        lost: called once with the reason, in the watching thread.
        ask: the request, which raises if the head does not answer; by default one of Ray's own client.
    """

    def __init__(self, address: str, *, lost: Callable[[str], None], ask: Callable[[], object] | None = None) -> None:
        self._address, self._lost, self._ask = address, lost, ask or _ask_gcs
        self._answered = self._reached = time.monotonic()
        self._is_reachable = True
        self._ended = threading.Event()
        for work in (self._keep_asking, self._keep_looking):
            threading.Thread(target=work, name="head-watch", daemon=True).start()

    def stop(self) -> None:
        """End both threads."""
        self._ended.set()

    def _keep_asking(self) -> None:
        while not self._ended.is_set():
            self._is_reachable = self._connects()
            if self._is_reachable:
                self._reached = time.monotonic()
                with suppress(Exception):  # any error means no answer
                    self._ask()
                    self._answered = time.monotonic()
            self._ended.wait(_PAUSE_SECONDS)

    def _connects(self) -> bool:
        """Return whether the head takes a connection; where nothing listens, Ray's client would wait."""
        host, _, port = self._address.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=_REQUEST_SECONDS):
                return True
        except OSError:
            return False

    def _keep_looking(self) -> None:
        while not self._ended.wait(_PAUSE_SECONDS / 4):
            now = time.monotonic()
            is_gone = not self._is_reachable and now - self._reached > UNREACHABLE_SECONDS
            if is_gone or now - self._answered > UNANSWERED_SECONDS:
                self._ended.set()
                what = "has taken no connection" if is_gone else "has not answered"
                silent = now - (self._reached if is_gone else self._answered)
                _log.info("the head at %s counts as lost: it %s for %.0f s", self._address, what, silent)
                self._lost(f"the head of the Ray cluster, {self._address}, {what} for {silent:.0f} s")


def _ask_gcs() -> None:
    ask_head(timeout=_REQUEST_SECONDS)


def watch_head(lost: Callable[[str], None]) -> HeadWatch:
    """Watch the head of the cluster that this process is connected to."""
    import ray

    return HeadWatch(ray.get_runtime_context().gcs_address, lost=lost)

"""Watches the head of the Ray cluster; Ray itself ends a driver a minute after its head was lost, with a dump."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

LOST_S = 8.0
"""How long a head does not answer until it is taken for lost."""
_ASK_S, _PAUSE_S = 3.0, 1.0


class HeadWatch:
    """Asks the head once a second, in a thread of its own; another thread calls ``lost`` when it does not answer.

    Args:
        address: HOST:PORT of the head's GCS server.
        lost: called once, in the watching thread.
        ask: raises where the head does not answer; Ray's own client does without.
    """

    def __init__(self, address: str, *, lost: Callable[[str], None], ask: Callable[[], object] | None = None) -> None:
        self._address, self._lost, self._ask = address, lost, ask or _ask_gcs
        self._answered = time.monotonic()
        self._over = threading.Event()
        for work in (self._keep_asking, self._keep_looking):
            threading.Thread(target=work, name="head-watch", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
        self._over.set()

    def _keep_asking(self) -> None:
        host, _, port = self._address.rpartition(":")
        while not self._over.is_set():
            with suppress(Exception):  # whatever it raises, it is no answer
                with socket.create_connection((host.strip("[]"), int(port)), timeout=_ASK_S):
                    pass  # a client of Ray waits long for a server that is not there
                self._ask()
                self._answered = time.monotonic()
            self._over.wait(_PAUSE_S)

    def _keep_looking(self) -> None:
        while not self._over.wait(_PAUSE_S / 4):
            silent = time.monotonic() - self._answered
            if silent > LOST_S:
                self._over.set()
                self._lost(f"the head of the Ray cluster, {self._address}, has not answered for {silent:.0f} s")


def _ask_gcs() -> None:
    from ray._private.worker import global_worker

    global_worker.gcs_client.internal_kv_exists(b"nmlab", None, timeout=_ASK_S)


def watch_head(lost: Callable[[str], None]) -> HeadWatch:
    """Watch the head of the cluster that this process is connected to."""
    import ray

    return HeadWatch(ray.get_runtime_context().gcs_address, lost=lost)

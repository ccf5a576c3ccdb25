"""Check within seconds that a Ray cluster answers at an address and accepts our token, before anything is started."""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from nmlab.platform.compat.ray_core import ask_server, has_token
from nmlab.platform.failures import reason_line

CONNECT_SECONDS = 3.0
"""How long a connection to an address may take: longer than one lost packet costs, short for a typing error."""
ANSWER_SECONDS = 8.0
"""How long a server may take to answer. An overloaded head of a cluster takes seconds; a server of something else
never answers."""
_EXPECTED = "expected HOST:PORT of its head node, for example 10.0.0.1:6379, or auto on one of its machines"


def check_reachable(address: str) -> None:
    """Raise ``ValueError`` with one line unless a Ray cluster answers at ``address`` and accepts our token.

    ``auto`` means the cluster that this machine belongs to, which Ray looks up itself.
    """
    if address == "auto":
        return
    check_listens(*_host_and_port(address), address, expected=_EXPECTED)
    _ask(address)


def check_listens(host: str, port: int, address: str, *, expected: str) -> None:
    """Raise ``ValueError`` unless a process listens at host and port, which the user gave as ``address``."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            pass
    except OSError as error:
        reason = "no answer" if isinstance(error, TimeoutError) else error.strerror or error
        raise ValueError(f"no Ray cluster answers at {address!r}: {reason}; {expected}") from error


def _host_and_port(address: str) -> tuple[str, int]:
    if "://" in address:
        hint = "; for an http address there is `nmlab submit`" if address.startswith("http") else ""
        raise ValueError(f"address {address!r}: {_EXPECTED}{hint}")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ValueError(f"address {address!r}: {_EXPECTED}")
    return host.strip("[]"), int(port)


def _ask(address: str) -> None:
    """Request the list of nodes in a thread, because a server that is not Ray may never answer."""
    answer: list[Exception | None] = []

    def ask() -> None:
        try:
            ask_server(address, timeout=ANSWER_SECONDS)
            answer.append(None)
        except Exception as error:  # the caller turns it into a message
            answer.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    with _without_stderr():
        thread.start()
        thread.join(ANSWER_SECONDS)
    if not answer:
        raise ValueError(f"the server at {address!r} is not a Ray cluster; {_EXPECTED}")
    if answer[0] is not None:
        raise ValueError(_refusal(address, answer[0])) from answer[0]


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Discard what Ray's C++ code prints to the standard error; our own message replaces it."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _refusal(address: str, error: Exception) -> str:
    from ray.exceptions import AuthenticationError

    if isinstance(error, AuthenticationError):
        return token_refused(address)
    return f"no Ray cluster answers at {address!r}: {reason_line(error)}"


def token_refused(address: str) -> str:
    """Return the message for a cluster whose token this process does not have."""
    given = "this process has another token" if _has_token() else "this process has no token"
    return (
        f"the Ray cluster at {address!r} refuses the connection: {given}; set RAY_AUTH_MODE=token and "
        "RAY_AUTH_TOKEN, or put the cluster's token into ~/.ray/auth_token"
    )


def _has_token() -> bool:
    mode = os.environ.get("RAY_AUTH_MODE", "").lower()
    return mode == "token" and has_token()

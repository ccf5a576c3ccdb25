"""Private parts of Ray's core. Ray is imported when one of them is used."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "NODE_ID_LABEL",
    "ask_head",
    "ask_server",
    "at_loopback",
    "death_of",
    "delete_key",
    "get_key",
    "has_token",
    "killed_by_ray",
    "put_key",
    "reread_authentication",
    "session_folder",
]

NODE_ID_LABEL = "ray.io/node-id"
"""The label that every node has, by which an actor or a Train run is placed on a node or kept away from one.

Instead: Ray documents the label's text and names it in a private constant; the text has to stay equal to it.
Seen: Ray 2.60
"""


def ask_server(address: str, *, timeout: float) -> None:
    """Request the list of nodes from the server at HOST:PORT without joining its cluster; raises what Ray raises.

    Instead: ``ray.init`` waits for minutes for a server that is not there, and leaves a half-joined process; the state
    API needs the dashboard.
    Seen: Ray 2.60
    """
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    GcsClient(address=address).get_all_node_info(timeout=timeout)


def ask_head(*, timeout: float) -> None:
    """Send one request to the head of the cluster that this process has joined; raises if it does not answer.

    Instead: public requests take no timeout and retry until Ray itself ends the process, a minute later.
    Seen: Ray 2.60
    """
    from ray._private.worker import global_worker

    global_worker.gcs_client.internal_kv_exists(b"nmlab", None, timeout=timeout)


def has_token() -> bool:
    """Return whether Ray finds a token, in the environment or in its file, whatever the mode is.

    Instead: Ray says so only by refusing to join.
    Seen: Ray 2.60
    """
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    return bool(AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))


def reread_authentication() -> None:
    """Let Ray, if it is imported, read the mode and the token again, which its C++ part keeps from the first time.

    Instead: Ray documents one cluster for a process, whose token is read once.
    Seen: Ray 2.60
    """
    if "ray._raylet" in sys.modules:
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()


@contextmanager
def at_loopback() -> Iterator[None]:
    """Let Ray use 127.0.0.1 as the address of this machine while the block lasts.

    Instead: ``RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER`` says so to new processes; one that has imported Ray does not read it
    again.
    Seen: Ray 2.60
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def session_folder(folder: Path) -> dict[str, str]:
    """Return the argument of ``ray.init`` that says in which folder a local cluster keeps its files and sockets.

    Instead: ``RAY_TMPDIR`` is read once, when Ray is imported; ``ray start --temp-dir`` needs another process.
    Seen: Ray 2.60
    """
    return {"_temp_dir": str(folder)}


def death_of(actor: str) -> Any:
    """Return the ``DeathCause`` of an actor, by its hexadecimal id: without a context while it lives, None if unknown.

    Instead: ``ray.util.state.get_actor`` needs the dashboard, which a local cluster does not start.
    Seen: Ray 2.60
    """
    import ray

    return ray._private.state.actors(actor).get("DeathCause")


def killed_by_ray(death: Any) -> bool:
    """Return whether a ``DeathCause`` is that of Ray's memory monitor.

    Instead: ``OutOfMemoryError`` goes to the caller of the actor alone, and its successor asks.
    Seen: Ray 2.60
    """
    return death is not None and death.WhichOneof("context") == "oom_context"


def put_key(key: bytes, value: bytes, *, namespace: bytes) -> None:
    """Write a value to the key-value store of the cluster.

    Instead: Ray has no public table; a named actor would be another process to start, and to lose.
    Seen: Ray 2.60
    """
    from ray.experimental.internal_kv import _internal_kv_put

    _internal_kv_put(key, value, namespace=namespace)


def get_key(key: bytes, *, namespace: bytes) -> bytes | None:
    """Return a value of the key-value store of the cluster; None if there is none.

    Instead: see ``put_key``.
    Seen: Ray 2.60
    """
    from ray.experimental.internal_kv import _internal_kv_get

    value: bytes | None = _internal_kv_get(key, namespace=namespace)
    return value


def delete_key(key: bytes, *, namespace: bytes) -> None:
    """Delete a value of the key-value store of the cluster, if it is there.

    Instead: see ``put_key``.
    Seen: Ray 2.60
    """
    from ray.experimental.internal_kv import _internal_kv_del

    _internal_kv_del(key, namespace=namespace)

"""The store in which the stages of a replica exchange their addresses: the key-value store of the Ray cluster.

Torch's own store (``TCPStore``) listens on every interface and lets anybody read and write. The cluster's store asks
for the cluster's token, and each key and value is also bound to a secret of the replica: nobody else can guess a key,
and a value that somebody else wrote is refused. It needs no port and no process.
"""

import hashlib
import hmac
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from nmlab.platform.compat import ray_core
from nmlab.trials.compat import Store

_MAC_BYTES = 32
"""Bytes of the authentication code (HMAC with SHA-256) before every value."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.002, 0.1
"""Pause between two reads of a key. Stages that reconnect after an error find it in milliseconds."""


class Keys(Protocol):
    """A table of bytes that all stages see."""

    def put(self, key: bytes, value: bytes) -> None: ...

    def get(self, key: bytes) -> bytes | None: ...

    def delete(self, key: bytes) -> None: ...


class RayKeys:
    """The key-value store of the Ray cluster that this process belongs to."""

    _NAMESPACE = b"nmlab stages"

    def put(self, key: bytes, value: bytes) -> None:
        ray_core.put_key(key, value, namespace=self._NAMESPACE)

    def get(self, key: bytes) -> bytes | None:
        return ray_core.get_key(key, namespace=self._NAMESPACE)

    def delete(self, key: bytes) -> None:
        ray_core.delete_key(key, namespace=self._NAMESPACE)


class StageStore(Store):
    """A store of ``torch.distributed`` on ``keys``, shared by all who know ``secret``; any thread may use it.

    Waiting for a key raises ``TimeoutError`` after ``patience``. A value that was not written with the secret raises
    ``PermissionError``.
    """

    def __init__(self, keys: Keys, *, secret: bytes, patience: timedelta) -> None:
        super().__init__()
        self._keys, self._secret, self._patience = keys, secret, patience
        self._written: set[bytes] = set()

    def set(self, key: str, value: str | bytes) -> None:
        data, name = value.encode() if isinstance(value, str) else bytes(value), self._name(key)
        self._written.add(name)
        self._keys.put(name, self._mac(b"value", name, data) + data)

    def get(self, key: str) -> bytes:
        self.wait([key])
        value = self._read(key)
        assert value is not None
        return value

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        deadline, pause = time.monotonic() + (timeout or self._patience).total_seconds(), _FIRST_PAUSE_SECONDS
        while not self.check(keys):
            if time.monotonic() > deadline:
                raise TimeoutError(f"another stage has not written its address ({', '.join(keys)})")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def check(self, keys: Sequence[str]) -> bool:
        return all(self._read(key) is not None for key in keys)

    def delete_key(self, key: str) -> bool:
        self._keys.delete(self._name(key))
        return True

    def forget(self) -> None:
        """Delete what this process has written; called once all stages have read it."""
        for name in self._written:
            self._keys.delete(name)
        self._written.clear()

    def _read(self, key: str) -> bytes | None:
        name = self._name(key)
        found = self._keys.get(name)
        if found is None:
            return None
        mac, data = found[:_MAC_BYTES], found[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(b"value", name, data)):
            raise PermissionError(f"{key}: written without the secret of this replica")
        return data

    def _name(self, key: str) -> bytes:
        return self._mac(b"key", key.encode()).hex().encode()

    def _mac(self, *parts: bytes) -> bytes:
        return hmac.digest(self._secret, b"/".join(parts), hashlib.sha256)

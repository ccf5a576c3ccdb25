"""A pipeline group of several processes, connected by gloo, and by nccl between GPUs."""

import hashlib
import hmac
import math
import secrets
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Protocol, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from nmlab.trials.compat import PrefixStore, Store, gloo_options, nccl_options
from nmlab.trials.contract.errors import (
    DivergedError,
    GroupClosedError,
    PeerError,
    PipelineLostError,
    ReloadError,
)
from nmlab.trials.measure.out_of_memory import is_out_of_memory
from nmlab.trials.parallel.pipeline_group import PipelineGroup
from nmlab.trials.parallel.stage_messages import decode, encode

T = TypeVar("T")

# The longest wait for another rank: longer than anything that one rank does alone. A dead rank is noticed at once.
PATIENCE = timedelta(hours=12)
# A message of up to this many bytes takes one transfer instead of two.
_SHORT = 504
_LENGTH = 8
_PROOF = 32
# Errors that every rank raises as the same type, whichever rank they occurred on.
_SHARED: dict[str, type[Exception]] = {
    "diverged": DivergedError,
    "out of memory": MemoryError,
    "group closed": GroupClosedError,
    "reload": ReloadError,
}


class _Work(Protocol):
    """A transfer that was started."""

    def wait(self) -> bool: ...


class _Connections(Protocol):
    """What is used of torch's process groups, whose type stubs leave these methods out."""

    def broadcast(self, tensor: Tensor, root: int, /) -> _Work: ...

    def allgather(self, outputs: list[list[Tensor]], inputs: list[Tensor], /) -> _Work: ...

    def gather(self, outputs: list[Tensor], own: Tensor, root: int, /) -> _Work: ...

    def scatter(self, own: Tensor, inputs: list[Tensor], root: int, /) -> _Work: ...

    def abort(self) -> None: ...


class DistributedGroup(PipelineGroup):
    """A pipeline group of several processes, connected by gloo, and by nccl between GPUs where each rank has its own.

    A rank that fails closes its connections, which wakes the others wherever they wait. Then all ranks call
    ``recover``: they open new connections, exchange the reason, and are ready for the next trial.

    Args:
        store: the store through which the ranks find each other.
        name: keeps groups that use one store apart.
        rank: the rank of this process, from 0.
        size: the number of ranks, at least 2.
        address: the host name or address of this rank, for its neighbours to connect to.
        by_nccl: whether tensors on GPUs are sent by nccl; otherwise they go through the memory of the CPU.
        secret: known to all ranks and to nobody else; a connection without it raises ``PipelineLostError``.
    """

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        rank: int,
        size: int,
        address: str = "127.0.0.1",
        by_nccl: bool = False,
        secret: bytes = b"",
    ) -> None:
        assert size > 1
        self._secret = secret
        self.rank, self.size = rank, size
        self.name = name
        self._store, self._address, self._by_nccl = store, address, by_nccl
        self._generation = 0
        self._connect()

    def broadcast(self, value: T, *, by: int = 0) -> T:
        payload = encode(value) if self.rank == by else b""
        buffer = _buffer(payload, _SHORT)
        self._wait(lambda: self._all.broadcast(buffer, by))
        length = _length(buffer)
        if length > _SHORT:
            buffer = _buffer(payload, length)
            self._wait(lambda: self._all.broadcast(buffer, by))
        return value if self.rank == by else cast(T, _value(buffer))

    def broadcast_from_last(self, compute: Callable[[], T]) -> T:
        last = self.size - 1
        value = compute() if self.rank == last else None
        return cast(T, self.broadcast(value, by=last))

    def all_gather(self, value: T) -> list[T]:
        payload = encode(value)
        buffers = self._all_gather(_buffer(payload, _SHORT))
        longest = max(_length(buffer) for buffer in buffers)
        if longest > _SHORT:
            buffers = self._all_gather(_buffer(payload, longest))
        return [_value(buffer) for buffer in buffers]

    def gather(self, value: T) -> list[T]:
        payload = encode(value)
        mine = _buffer(payload, max(self.all_gather(len(payload))))
        buffers = [torch.empty_like(mine) for _ in range(self.size)] if self.leads else []
        self._wait(lambda: self._all.gather(buffers, mine, 0))
        return [_value(buffer) for buffer in buffers]

    def scatter(self, values: list[T]) -> T:
        payloads = [encode(value) for value in values] if self.leads else []
        longest = self.broadcast(max((len(payload) for payload in payloads), default=0))
        mine = _buffer(b"", longest)
        buffers = [_buffer(payload, longest) for payload in payloads]
        self._wait(lambda: self._all.scatter(mine, buffers, 0))
        return cast(T, _value(mine))

    def all_reduce_sum(self, parts: Iterable[float]) -> float:
        return math.fsum(part for of_rank in self.all_gather(list(parts)) for part in of_rank)

    def all_reduce_count(self, number: int) -> int:
        return sum(self.all_gather(number))

    def send(self, tensor: Tensor, *, to: int) -> None:
        carried = tensor.detach() if self._by_nccl else tensor.detach().cpu()
        self._pass(carried.contiguous(), between=(self.rank, to), sender=self.rank)

    def receive(self, like: Tensor, *, by: int) -> Tensor:
        carried = torch.empty(like.shape, dtype=like.dtype, device=like.device if self._by_nccl else "cpu")
        self._pass(carried, between=(by, self.rank), sender=by)
        return carried.to(like.device)

    def recover(self, error: Exception) -> Exception:
        self._disconnect()
        self._generation += 1
        try:
            self._connect()
            reasons = self.all_gather(_reason(error))
        except (RuntimeError, OSError) as lost:
            text = f"pipeline stage {self.rank} lost the other stages of its model: {lost}"
            raise PipelineLostError(text) from error
        failed = [(rank, reason) for rank, reason in enumerate(reasons) if reason is not None]
        if not failed or failed[0][0] == self.rank:
            return error
        rank, (kind, text) = failed[0]
        return _SHARED[kind](text) if kind in _SHARED else PeerError(f"pipeline stage {rank}: {text}")

    def _connect(self) -> None:
        prefix = f"{self.name}/{self._generation}"
        self._all = _gloo(self._store, f"{prefix}/all", rank=self.rank, size=self.size, address=self._address)
        self._links: dict[int, _Connections] = {}
        for low in (self.rank - 1, self.rank):  # a link has two ranks, so a broadcast of one reaches the other alone
            if 0 <= low < self.size - 1:
                place, name = self.rank - low, f"{prefix}/link-{low}"
                if self._by_nccl:
                    self._links[low] = _nccl(self._store, name, rank=place, size=2)
                else:
                    self._links[low] = _gloo(self._store, name, rank=place, size=2, address=self._address)
        self._prove(prefix)

    def _prove(self, prefix: str) -> None:
        """Check on every connection that the other side knows the secret; raises ``PipelineLostError`` if not.

        Gloo accepts the first process that connects to its port. A connection over which the right answer to a fresh
        challenge came leads to a rank of this group, and does so until it is closed.
        """
        self._prove_on(self._all, self.size, self.rank, where=f"{prefix}/all")
        for low, link in self._links.items():
            if not self._by_nccl:
                self._prove_on(link, 2, self.rank - low, where=f"{prefix}/link-{low}")

    def _prove_on(self, group: _Connections, size: int, place: int, *, where: str) -> None:
        challenges = _gathered(group, secrets.token_bytes(_PROOF), size)
        answers = _gathered(group, self._proof(where, challenges, place), size)
        for other, answer in enumerate(answers):
            if not hmac.compare_digest(answer, self._proof(where, challenges, other)):
                raise PipelineLostError(
                    f"the process connected as pipeline stage {other} of {where} does not know the launch's secret"
                )

    def _proof(self, where: str, challenges: list[bytes], place: int) -> bytes:
        text = b"".join([f"{where}/{place}/".encode(), *challenges])
        return hmac.digest(self._secret, text, hashlib.sha256)

    def _disconnect(self) -> None:
        for group in (self._all, *self._links.values()):
            group.abort()
        self._links.clear()
        del self._all

    def _pass(self, tensor: Tensor, *, between: tuple[int, int], sender: int) -> None:
        low = min(between)
        # A broadcast between two ranks is a send; gloo's own send polls the network once a millisecond only.
        self._wait(lambda: self._links[low].broadcast(tensor, sender - low))

    def _all_gather(self, mine: Tensor) -> list[Tensor]:
        buffers = [torch.empty_like(mine) for _ in range(self.size)]
        self._wait(lambda: self._all.allgather([buffers], [mine]))
        return buffers

    def _wait(self, start: Callable[[], _Work]) -> None:
        try:
            start().wait()
        except RuntimeError as error:
            raise PeerError(f"pipeline stage {self.rank} lost the connection to another: {error}") from error


def _gathered(group: _Connections, own: bytes, size: int) -> list[bytes]:
    """Return the bytes of all ranks of a group, equally many of each, by rank."""
    mine = torch.frombuffer(bytearray(own), dtype=torch.uint8)
    buffers = [torch.empty_like(mine) for _ in range(size)]
    group.allgather([buffers], [mine]).wait()
    return [buffer.numpy().tobytes() for buffer in buffers]


def _gloo(store: Store, name: str, *, rank: int, size: int, address: str) -> _Connections:
    options = gloo_options(address=address, timeout=PATIENCE)
    return cast(_Connections, dist.ProcessGroupGloo(PrefixStore(name, store), rank, size, options))


def _nccl(store: Store, name: str, *, rank: int, size: int) -> _Connections:
    options = nccl_options(timeout=PATIENCE)
    return cast(_Connections, dist.ProcessGroupNCCL(PrefixStore(name, store), rank, size, options))


def _reason(error: Exception) -> tuple[str, str] | None:
    """Return kind and text of an error for the other ranks; None for an error that follows from another rank's."""
    if isinstance(error, PeerError):
        return None
    text = str(error).strip() or type(error).__name__
    if is_out_of_memory(error):
        return "out of memory", text
    kind = next((name for name, shared in _SHARED.items() if isinstance(error, shared)), None)
    return (kind, text) if kind else ("other", f"{type(error).__name__}: {text}")


def _buffer(payload: bytes, room: int) -> Tensor:
    """Return the length of the payload and as much of it as there is room for, uint8 [8 + room]."""
    buffer = torch.zeros(_LENGTH + room, dtype=torch.uint8)
    held = len(payload).to_bytes(_LENGTH, "little") + payload[:room]
    buffer[: len(held)] = torch.frombuffer(bytearray(held), dtype=torch.uint8)
    return buffer


def _length(buffer: Tensor) -> int:
    return int.from_bytes(buffer[:_LENGTH].numpy().tobytes(), "little")


def _value(buffer: Tensor) -> Any:
    return decode(buffer[_LENGTH : _LENGTH + _length(buffer)].numpy().tobytes())

"""The resources of this machine: free memory within its limits, and the speed of matrix products and copies."""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

# The files in which Linux has the memory limit of a container and the memory used (cgroup versions 2 and 1).
_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
_SIDE, _COPY_BYTES, _CALLS, _REPEATS = 512, 2**25, 100, 5


def free_bytes(device: str) -> int:
    """Return the free bytes: of the current GPU for ``cuda``, else of this machine or container."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    free = int(psutil.virtual_memory().available)
    for limit, used in _LIMITS:
        try:
            most, now = Path(limit).read_text(), Path(used).read_text()
        except OSError:
            continue
        if most.strip().isdigit():  # "max" is no limit
            free = min(free, int(most) - int(now))
    return max(0, free)


@dataclass(frozen=True)
class Machine:
    """The devices of a machine: their kind and number, the free bytes on each, and the speed at one slot's share.

    ``flops`` and ``copied`` are per second: operations of a matrix product, bytes read and written by a copy. ``call``
    is the seconds that calling the smallest kernel from Python takes.
    """

    device: str
    devices: int
    cores: int
    free: int
    flops: float
    copied: float
    call: float = 0.0
    host: int | None = None
    """Free bytes in the memory of the machine if ``free`` is that of a GPU."""

    @classmethod
    def here(cls, *, dtype: str = "float32", threads: int = 1) -> "Machine":
        """Measure this machine with the number of threads that one trial will have; takes a tenth of a second."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            flops, copied, call = _speeds(device, getattr(torch, dtype))
        finally:
            torch.set_num_threads(before)
        devices = torch.cuda.device_count() if device == "cuda" else 1
        host = free_bytes("cpu") if device == "cuda" else None
        return cls(device, devices, os.cpu_count() or 1, free_bytes(device), flops, copied, call, host)


def _speeds(device: str, dtype: torch.dtype) -> tuple[float, float, float]:
    side = _SIDE * (8 if device == "cuda" else 1)
    left, right = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
    source = torch.ones(_COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    multiplied = _usual(lambda: torch.mm(left, right), device)
    copied = _usual(lambda: target.copy_(source), device)
    call = _usual(lambda: [left[0, 0] + 1 for _ in range(_CALLS)], device) / _CALLS
    return 2 * side**3 / multiplied, 2 * _COPY_BYTES / copied, call


def _usual(run: Callable[[], object], device: str) -> float:
    taken = []
    for _ in range(_REPEATS + 1):
        begun = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[1:])

"""The resources of this machine: free memory within its limits, and the speed of matrix products and copies."""

import os
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
_SIDE = 512
"""Rows and columns of the matrices whose product is timed: as large as a small model's layers, some milliseconds."""
_GPU_SIDE_FACTOR = 8
"""A GPU is timed on larger matrices, since small ones do not occupy it."""
_COPY_BYTES = 2**25
"""Copied to time the memory: more than the caches of a processor hold."""
_CALLS = 100
"""Smallest kernels that are called to time one call."""
_REPEATS = 8
"""Times that each is timed, after one that does not count; the fastest is taken."""


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


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The devices of a machine, and their speed with the threads that one slot has.

    Attributes:
        device: ``cuda`` or ``cpu``.
        device_count: GPUs, or 1.
        cores: of the processor.
        free_bytes: free memory of each device.
        flops_per_second: operations of a matrix product.
        copied_bytes_per_second: bytes read and written by a copy.
        call_seconds: what calling the smallest kernel from Python takes.
        host_free_bytes: free memory of the machine if the devices are GPUs, else None.
    """

    device: str
    device_count: int
    cores: int
    free_bytes: int
    flops_per_second: float
    copied_bytes_per_second: float
    call_seconds: float = 0.0
    host_free_bytes: int | None = None

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
        return cls(
            device=device,
            device_count=torch.cuda.device_count() if device == "cuda" else 1,
            cores=os.cpu_count() or 1,
            free_bytes=free_bytes(device),
            flops_per_second=flops,
            copied_bytes_per_second=copied,
            call_seconds=call,
            host_free_bytes=free_bytes("cpu") if device == "cuda" else None,
        )


def _speeds(device: str, dtype: torch.dtype) -> tuple[float, float, float]:
    """Return operations a second of a product, bytes a second of a copy, seconds of a call."""
    side = _SIDE * (_GPU_SIDE_FACTOR if device == "cuda" else 1)
    left, right = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
    source = torch.ones(_COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    product = _fastest_seconds(lambda: torch.mm(left, right), device)
    copy = _fastest_seconds(lambda: target.copy_(source), device)
    call = _fastest_seconds(lambda: [left[0, 0] + 1 for _ in range(_CALLS)], device) / _CALLS
    return 2 * side**3 / product, 2 * _COPY_BYTES / copy, call


def _fastest_seconds(run: Callable[[], object], device: str) -> float:
    # What else runs on the machine only adds, and beside much of it a median is a hundred times too long.
    taken = []
    for _ in range(_REPEATS + 1):
        begun = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])

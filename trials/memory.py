"""Memory of this process: its peak, and giving back what is free."""

import ctypes
import gc
import resource
import sys
from pathlib import Path

import torch


def peak_bytes(device: torch.device) -> int:
    """Return the peak of this process: device memory on a GPU, resident memory on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def give_back() -> None:
    """Return freed memory to the system.

    glibc keeps freed blocks of tens of megabytes for reuse, which is what the scratch tensors of a large model's start
    are; a replica that waits for its next trial has no use for them. Other C libraries are left alone.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def empty_cache(device: torch.device) -> None:
    """Do as ``give_back``, on a GPU with what torch keeps of it for reuse."""
    give_back()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class PeakMeter:
    """How much a stretch of work took at its peak beyond what was held when it began.

    On the CPU that is resident memory, read from Linux, which is told to forget its earlier peak. Raises ``OSError``
    where the system cannot tell.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)
        else:
            give_back()
            Path("/proc/self/clear_refs").write_text("5")
            self._before = _status_bytes("VmRSS")

    def peak(self) -> int:
        """Return the bytes of the peak until now."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        return _status_bytes("VmHWM") - self._before


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

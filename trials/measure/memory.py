"""Memory of this process: its peak, as a whole and by stretches of work, and giving back what is free."""

import ctypes
import gc
import resource
import sys
import threading
import weakref
from functools import cache
from pathlib import Path

import torch

_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def peak_bytes(device: torch.device) -> int:
    """Return the peak of this process until now: device memory on a GPU, resident memory on the CPU."""
    return _watched(str(device)).highest()


@cache
def can_tell_stretches(device: torch.device) -> bool:
    """Say whether peaks of stretches of work can be told here: on a GPU, and where Linux lets its peak be reset."""
    if device.type == "cuda":
        return True
    try:
        _watched(str(device)).turn()
    except OSError:
        return False
    return True


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


def exempt_from_collection() -> None:
    """Collect what is free, and leave all objects that are alive now out of later collections.

    A process with torch, transformers and Ray holds hundreds of thousands of objects that live as long as it does, and
    ``give_back`` looks at each of them after every trial. To be called once, when a model has been loaded.
    """
    gc.collect()
    gc.freeze()


def empty_cache(device: torch.device) -> None:
    """Do as ``give_back``, on a GPU with what torch keeps of it for reuse."""
    give_back()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class PeakMeter:
    """What this process holds at its peak during a stretch of work, which begins when the meter is made.

    On the CPU that is resident memory, read from Linux, which is told to forget its earlier peak. Stretches of several
    threads may overlap; each is then told the peak of the whole process while it lasted. Raises ``OSError`` where the
    system cannot tell (``can_tell_stretches``).
    """

    def __init__(self, device: torch.device) -> None:
        self._watched = _watched(str(device))
        self.before = self.highest = self._watched.begin(self)

    def peak(self) -> int:
        """Return the bytes of the peak until now."""
        self._watched.turn()
        return self.highest

    def rise(self) -> int:
        """Return how far the peak is above what was held in the beginning."""
        return self.peak() - self.before


class _Watched:
    """The memory of one device as this process uses it, and all who want to know its peak since some moment."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._highest = device, 0
        self._guard = threading.Lock()
        self._meters: weakref.WeakSet[PeakMeter] = weakref.WeakSet()

    def begin(self, meter: PeakMeter) -> int:
        """Tell a meter all peaks from now on; returns the bytes held at this moment."""
        with self._guard:
            self._turn()
            self._meters.add(meter)
            held = torch.cuda.memory_allocated(self._device) if self._is_gpu else _status_bytes("VmRSS")
            self._highest = max(self._highest, held)  # Linux's two counts of it may be some pages apart
            return held

    def turn(self) -> None:
        """Tell everyone the peak since the last turn, and begin another."""
        with self._guard:
            self._turn()

    def highest(self) -> int:
        """Return the peak since the process began."""
        with self._guard:
            return max(self._highest, self._peak())

    @property
    def _is_gpu(self) -> bool:
        return self._device.type == "cuda"

    def _turn(self) -> None:
        peak = self._peak()
        self._highest = max(self._highest, peak)
        for meter in self._meters:
            meter.highest = max(meter.highest, peak)
        if self._is_gpu:
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            _RESET.write_text("5", encoding="ascii")

    def _peak(self) -> int:
        if self._is_gpu:
            return torch.cuda.max_memory_allocated(self._device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@cache
def _watched(device: str) -> _Watched:
    return _Watched(torch.device(device))


def _status_bytes(name: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

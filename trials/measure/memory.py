"""Memory of this process: its peak, as a whole and by periods of work, and returning free memory to the system."""

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
    return _memory_of(str(device)).highest()


@cache
def can_measure_peaks(device: torch.device) -> bool:
    """Return whether peaks of single periods can be measured: on a GPU, and where Linux lets the peak be reset."""
    if device.type == "cuda":
        return True
    try:
        _memory_of(str(device)).flush_peak()
    except OSError:
        return False
    return True


def release_memory() -> None:
    """Return freed memory to the system.

    glibc keeps freed blocks of tens of megabytes for reuse, such as the scratch tensors of a large model's start; a
    replica that waits for its next trial does not need them. With other C libraries this does nothing.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def exempt_from_gc() -> None:
    """Collect garbage, and exclude all objects that are alive now from later collections.

    A process with torch, transformers and Ray holds hundreds of thousands of objects that live as long as it does, and
    ``release_memory`` visits each of them after every trial. Call this once, when a model has been loaded.
    """
    gc.collect()
    gc.freeze()


def empty_cache(device: torch.device) -> None:
    """Do what ``release_memory`` does, and on a GPU also free the memory that torch keeps for reuse."""
    release_memory()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class PeakMeter:
    """Measures the peak memory of this process from the moment at which the meter is made.

    On the CPU this is resident memory as Linux counts it, whose recorded peak is reset. Periods of several threads may
    overlap; each meter then gives the peak of the whole process in its period. Raises ``OSError`` where the system does
    not support it (``can_measure_peaks``).
    """

    def __init__(self, device: torch.device) -> None:
        self._memory = _memory_of(str(device))
        self.before = self.highest = 0
        self._memory.begin(self)

    def peak(self) -> int:
        """Return the bytes of the peak until now."""
        self._memory.flush_peak()
        return self.highest

    def rise(self) -> int:
        """Return the peak less the bytes held at the beginning."""
        return self.peak() - self.before


class _DeviceMemory:
    """The memory of one device as this process uses it, and the meters that measure its peak."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._highest = device, 0
        self._guard = threading.Lock()
        self._meters: weakref.WeakSet[PeakMeter] = weakref.WeakSet()

    def begin(self, meter: PeakMeter) -> None:
        """Register a meter, which gets the bytes held at this moment, and all peaks from now on."""
        with self._guard:
            self._flush_peak()
            held = torch.cuda.memory_allocated(self._device) if self._is_gpu else _status_bytes("VmRSS")
            self._highest = max(self._highest, held)  # Linux's two counts may differ by some pages
            meter.before = meter.highest = held
            self._meters.add(meter)

    def flush_peak(self) -> None:
        """Give all meters the peak since the last call, and reset it."""
        with self._guard:
            self._flush_peak()

    def highest(self) -> int:
        """Return the peak since the process began."""
        with self._guard:
            return max(self._highest, self._peak())

    @property
    def _is_gpu(self) -> bool:
        return self._device.type == "cuda"

    def _flush_peak(self) -> None:
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
def _memory_of(device: str) -> _DeviceMemory:
    return _DeviceMemory(torch.device(device))


def _status_bytes(name: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

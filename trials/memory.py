"""Memory of this process: its peak, and giving back what is free."""

import ctypes
import gc
import resource
import sys

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

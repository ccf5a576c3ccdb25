"""Recognise exceptions that mean that memory ran out, and whether a smaller micro-batch would help.

Frameworks report it in many ways: torch has a type for its own allocator, a plain ``RuntimeError`` for the CPU, and
``AcceleratorError`` for CUDA calls; the CUDA libraries each have a status; NCCL passes on the text of the CUDA call
that failed. Lack of other resources (registers and shared memory of a kernel, threads, disk) does not count.
"""

import errno
import re
from collections.abc import Iterator
from types import TracebackType

_TYPES = ("OutOfMemoryError", "MemoryError")
_WORDS = re.compile(
    r"out of memory"  # torch, CUDA, HIP, XPU, MPS, the CUDA driver, Triton's launcher, NCCL
    r"|(can't|cannot) allocate memory|not enough memory: you tried to allocate"  # torch's allocator, the C library
    r"|unable to allocate [\d.]+ [KMGTP]?i?B\b"  # NumPy
    r"|(CUBLAS|CUBLASLT|CUDNN|CUSOLVER|CUSPARSE|HIPBLAS|ROCBLAS|MIOPEN)_STATUS_ALLOC_FAILED|CUFFT_ALLOC_FAILED"
    r"|CUSPARSE_STATUS_INSUFFICIENT_RESOURCES|CUDNN_STATUS_INTERNAL_ERROR_(DEVICE|HOST)_ALLOCATION_FAILED"
    r"|(CUDA|NVRTC|HIP)_ERROR_OUT_OF_MEMORY|(cuda|hip)Error(MemoryAllocation|OutOfMemory)"
    r"|failed to (CUDA|HIP) (host )?[cm]?alloc|(cuda|hip)(HostAlloc|MallocHost|HostRegister|Malloc\w*) failed"
    r"|std::bad_alloc",
    re.IGNORECASE,
)
_OTHER_THINGS = re.compile(r"out of resources?: (shared memory|registers|tensor memory|threads)", re.IGNORECASE)
# Errors of a process that waited for a failed worker; they quote its error, but their own memory did not run out.
_OF_OTHERS = ("PeerError", "PipelineLostError", "GivenUpError")

NOT_RETRIED_NOTE = (
    "ran out of memory for what smaller micro-batches do not make smaller (state, masks or a checkpoint), so it was "
    "not tried with them"
)
"""The note on a trial that is not tried again."""

_PASS = (
    *("torch.nn.modules.module", "torch.nn.functional", "torch.autograd", "torch.autograd.graph"),
    *("torch.utils.checkpoint", "nmlab.trials.models.chunked"),  # the loss, in parts
)
_STATE = (
    *("nmlab.trials.engines", "nmlab.trials.masks", "nmlab.trials.trial.checkpoint", "nmlab.trials.trial.artifacts"),
    *("torch.autograd.function", "torch.optim", "safetensors"),
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception, or one it was raised from, means that a device or the host ran out of memory."""
    return any(_says_so(each) for each in _with_causes(error))


def depends_on_batch_size(error: BaseException, *, otherwise: bool) -> bool:
    """Return whether memory ran out for something whose size depends on the micro-batch.

    The activations of a forward or backward pass do. Logits, masks, moments and checkpoints do not. The innermost frame
    of the traceback that is known to be one or the other decides, so that a backward counts as a pass although an
    optimiser calls it, and a mask that is computed within a pass does not. Returns ``otherwise`` where no frame is
    known.
    """
    cause = next((each for each in _with_causes(error) if _says_so(each)), error)
    for module in reversed(list(_modules(cause.__traceback__))):
        if _is_in(module, _STATE):
            return False
        if module in _PASS:
            return True
    return otherwise


def _says_so(error: BaseException) -> bool:
    if type(error).__name__ in _OF_OTHERS:
        return False
    if isinstance(error, MemoryError) or type(error).__name__ in _TYPES:
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # Libraries raise RuntimeError and types of their own; a ValueError is about what was given, whatever its words.
    if isinstance(error, ValueError | TypeError | LookupError | ArithmeticError | AttributeError):
        return False
    text = str(error)
    return _WORDS.search(text) is not None and _OTHER_THINGS.search(text) is None


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__


def _modules(traceback: TracebackType | None) -> Iterator[str]:
    """Yield the modules of a traceback's frames, outermost first."""
    while traceback is not None:
        yield str(traceback.tb_frame.f_globals.get("__name__", ""))
        traceback = traceback.tb_next


def _is_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(f"{module}.".startswith(f"{package}.") for package in packages)

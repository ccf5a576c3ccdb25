"""All the errors for lack of memory, errors that only resemble them, and trials that are not tried smaller."""

import errno

import numpy as np
import pytest
import torch

from nmlab.trials.contract.errors import PeerError, PipelineLostError
from nmlab.trials.measure.out_of_memory import NOT_RETRIED_NOTE, depends_on_batch_size, is_out_of_memory
from nmlab.trials.methods.maskpro.run import MaskProRun
from nmlab.trials.models import MaskedModel
from nmlab.trials.testing.small import small_replica, small_spec, small_text
from nmlab.trials.trial.checkpoint import CheckpointFolder
from nmlab.trials.trial.run import run_trial


def accelerator_error(text):
    """torch makes the real ones in C++ only."""
    return type("AcceleratorError", (RuntimeError,), {})(text)


def chained(inner, outer):
    try:
        raise outer from inner
    except Exception as error:
        return error


SHORTAGES = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.1 GiB"),
    accelerator_error("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_ALLOC_FAILED, when calling `cusolverDnCreate(handle)`"),
    RuntimeError("CUDA error: CUSPARSE_STATUS_INSUFFICIENT_RESOURCES when calling `cusparseSpMM`"),
    RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
    type("DistBackendError", (RuntimeError,), {})(
        "NCCL error in: ProcessGroupNCCL.cpp:3690, unhandled cuda error, NCCL version 2.27.5\n"
        "ncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 2 'out of memory'"
    ),
    RuntimeError("NCCL error: unhandled cuda error. Last error: Failed to CUDA calloc async 608 bytes"),
    RuntimeError("Failed to CUDA host alloc 4194304 bytes"),
    RuntimeError("cudaHostAlloc failed: cudaErrorMemoryAllocation"),
    RuntimeError("HIP out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("MPS backend out of memory (MPS allocated: 17.98 GB)"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"),
    RuntimeError("unable to mmap 1024 bytes from file </weights>: Cannot allocate memory (12)"),
    RuntimeError("std::bad_alloc"),
    MemoryError(),
    np._core._exceptions._ArrayMemoryError((2**40,), np.dtype("float64")),
    OSError(errno.ENOMEM, "Cannot allocate memory"),
    type("SafetensorError", (Exception,), {})("Error while serializing: Cannot allocate memory (os error 12)"),
    chained(torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("backend compiler failed")),
]  # fmt: skip
OTHERS = [
    type("OutOfResources", (Exception,), {})(
        "out of resource: shared memory, Required: 262144, Hardware limit: 232448"
    ),
    RuntimeError("out of resource: registers, Required: 65540, Hardware limit: 65536"),
    RuntimeError("CUDA error: too many resources requested for launch"),
    RuntimeError("CUDA error: an illegal memory access was encountered"),
    accelerator_error("CUDA error: misaligned address"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"),
    RuntimeError("can't start new thread"),
    RuntimeError("shape mismatch"),
    ValueError("memory"),
    ValueError("answers: which method runs out of memory first"),
    KeyError("out of memory"),
    OSError(errno.ENOSPC, "No space left on device"),
    PeerError("pipeline stage 1: RuntimeError: CUDA error: out of memory"),
    PipelineLostError("pipeline stage 0 lost the other stages of its model: out of memory"),
]


@pytest.mark.parametrize("error", SHORTAGES, ids=lambda error: f"{type(error).__name__}: {str(error)[:50]}")
def test_lack_of_memory_is_recognised(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", OTHERS, ids=lambda error: f"{type(error).__name__}: {str(error)[:50]}")
def test_errors_that_only_resemble_it_are_not(error):
    assert not is_out_of_memory(error)


class _NoRoom(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor):
        return tensor.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("CUDA error: out of memory")


def _caught(call):
    with pytest.raises(RuntimeError, match="memory") as caught:
        call()
    return caught.value


def test_a_pass_shrinks_with_the_batch_and_nothing_else_does():
    class Layer(torch.nn.Module):
        def forward(self, tensor):
            raise torch.OutOfMemoryError("CUDA out of memory.")

    leaf = torch.ones(2, requires_grad=True)
    assert depends_on_batch_size(_caught(lambda: Layer()(leaf)), otherwise=False)
    assert depends_on_batch_size(_caught(lambda: (leaf * torch.empty(2**60)).sum()), otherwise=True), (
        "no frame is known"
    )
    assert not depends_on_batch_size(_caught(lambda: (leaf * torch.empty(2**60)).sum()), otherwise=False)
    soft_mask = _caught(lambda: _NoRoom.apply(leaf).sum().backward())
    assert not depends_on_batch_size(soft_mask, otherwise=True), "a function of the weights, in a backward"


@pytest.fixture(scope="module")
def replica():
    return small_replica()


@pytest.fixture
def spec(tmp_path):
    text = small_text(tmp_path)
    return small_spec("maskpro", text=text, hyperparameters={"steps": 3}, cadence={"checkpoint_every": 1})


class Quiet:
    def metrics(self, step, values): ...

    def cancelled(self):
        return False


def _counted(monkeypatch, owner, name, error):
    """Make a function fail; returns the list of its calls."""
    calls = []

    def fail(*given, **named):
        calls.append(name)
        raise error

    monkeypatch.setattr(owner, name, fail)
    return calls


def test_a_checkpoint_without_room_is_not_tried_smaller(replica, spec, tmp_path, monkeypatch):
    monkeypatch.setattr("nmlab.trials.trial.checkpoint._digest", _failing(MemoryError("no room for the checkpoint")))
    result = run_trial(spec, replica=replica, folder=tmp_path / "trial", events=Quiet())
    assert (result.status, result.step, result.notes) == ("oom", 1, (NOT_RETRIED_NOTE,))
    assert result.reason == "no room for the checkpoint"


def test_a_state_without_room_is_not_tried_smaller(replica, spec, tmp_path, monkeypatch):
    calls = _counted(monkeypatch, MaskProRun, "__init__", torch.OutOfMemoryError("CUDA out of memory."))
    result = run_trial(spec, replica=replica, folder=tmp_path / "trial", events=Quiet())
    assert (result.status, result.notes, len(calls)) == ("oom", (NOT_RETRIED_NOTE,), 1)


def test_an_engine_without_room_is_not_tried_smaller(replica, spec, tmp_path, monkeypatch):
    calls = []

    def full(*given, **named):
        calls.append(1)
        raise torch.OutOfMemoryError("CUDA out of memory.")

    exec_in = {"__name__": "nmlab.trials.engines.linear", "full": full}
    exec("def descend(*given, **named): return full()", exec_in)
    monkeypatch.setattr("nmlab.trials.engines.linear.LinearEngine.descend", exec_in["descend"])
    result = run_trial(spec, replica=replica, folder=tmp_path / "trial", events=Quiet())
    assert (result.status, result.notes, len(calls)) == ("oom", (NOT_RETRIED_NOTE,), 1)


@pytest.mark.slow
def test_forwards_of_the_start_are_tried_smaller(replica, spec, tmp_path, monkeypatch):
    """Losses of the initial mask are measured before there is a state: forwards all the same."""
    forward, tried = replica.frozen.module.forward, []

    def cramped(*given, **named):
        tried.append(len(named["input_ids"]))
        if len(named["input_ids"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return forward(*given, **named)

    monkeypatch.setattr(replica.frozen.module, "forward", cramped)
    single = spec.model_copy(update={"evaluation": spec.evaluation.model_copy(update={"batch_size": 1})})
    result = run_trial(single, replica=replica, folder=tmp_path / "trial", events=Quiet())
    assert result.status == "finished"
    assert tried[0] == 2
    assert result.notes == ("ran out of memory with micro-batches of 2, ran with 1 (windows: 1)",)
    assert MaskedModel(replica.frozen).micro_batch is None


def _failing(error):
    def fail(*given, **named):
        raise error

    return fail


def test_a_checkpoint_that_fits_is_unaffected(replica, spec, tmp_path):
    result = run_trial(spec, replica=replica, folder=tmp_path / "trial", events=Quiet())
    assert (result.status, result.notes) == ("finished", ())
    assert CheckpointFolder(tmp_path / "trial", key=spec.key).newest().step == 3

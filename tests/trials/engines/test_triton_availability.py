"""The Triton engine where it cannot run: one line says what is missing and what to choose; nothing else breaks."""

import multiprocessing
import sys
from importlib import import_module

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout, store_of
from nmlab.trials.engines.triton import TritonEngine, unavailable_reason
from nmlab.trials.engines.triton.availability import interpreting
from nmlab.trials.models import PrunableLayer

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
LAYOUT = GroupLayout([PrunableLayer("blocks.0.q", 0, 4, 8)], pattern=Pattern(2, 4))


@pytest.mark.skipif(interpreting(), reason="the interpreter runs on the CPU")
def test_logits_on_the_cpu_are_refused():
    pytest.importorskip("triton", reason="the package triton exists for Linux only")
    with pytest.raises(
        ValueError, match=r"logits are on cpu, expected a CUDA device.*choose engine 'linear' or 'event'"
    ):
        TritonEngine(LAYOUT, store=store_of(LAYOUT, torch.zeros(LAYOUT.groups, 4)))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    for device in (CPU, CUDA):
        assert "triton is not installed (pip install 'nmlab[gpu]'); choose engine 'linear'" in unavailable_reason(
            device
        )
    with pytest.raises(ValueError, match="triton is not installed"):
        TritonEngine(LAYOUT, store=store_of(LAYOUT, torch.zeros(LAYOUT.groups, 4)))


def test_a_cuda_device_is_enough():
    pytest.importorskip("triton", reason="the package triton exists for Linux only")
    assert unavailable_reason(CUDA) is None


def _import_engines_without_triton():
    """Import them once more, in this process, which was forked for it."""
    for name in list(sys.modules):
        if name.startswith(("nmlab.", "triton")):
            del sys.modules[name]
    sys.modules["triton"] = None
    for name in ("nmlab.trials.engines", "nmlab.trials.engines.triton", "nmlab.trials.engines.triton.engine"):
        import_module(name)
    assert not [name for name in sys.modules if name.startswith("nmlab.trials.engines.triton.kernels")]


def test_all_engines_import_without_the_package():
    process = multiprocessing.get_context("fork").Process(target=_import_engines_without_triton)
    process.start()
    process.join(60)
    assert process.exitcode == 0

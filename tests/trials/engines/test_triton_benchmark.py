"""The benchmark that is meant for a GPU says in one line when there is none, and times what trials do.

`triton/benchmark.py` runs it through on the CPU.
"""

import runpy
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="the package triton exists for Linux only")

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "gpu.py"


def test_the_product_takes_the_steps_that_are_timed():
    source = (BENCHMARK.parent / "gpu_timings.py").read_text()
    assert "maskpro.start(" in source
    assert "run.step(" in source
    assert "Stepper" not in source


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_leaves_with_two_and_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(BENCHMARK), run_name="__main__")
    printed = capsys.readouterr()
    assert left.value.code == 2
    assert printed.out == ""
    assert printed.err.strip().splitlines() == [
        "benchmarks/gpu.py: torch sees no CUDA device here; try --device cpu --small"
    ]

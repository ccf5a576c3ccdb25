"""The benchmark that is meant for a GPU runs through on the CPU, and says in one line when there is none."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="the package triton exists for Linux only")

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "gpu.py"


def _run(*arguments):
    command = [sys.executable, "-W", "ignore", str(BENCHMARK), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_dry_run_takes_every_path_and_finds_everything_right(tmp_path):
    done = _run("--device", "cpu", "--small", "--json", str(tmp_path / "gpu.json"))
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    record = json.loads((tmp_path / "gpu.json").read_text())
    assert record["small"]
    assert record["versions"]["triton"]
    assert all(row["holds"] for row in record["correctness"])
    assert record["not done"] == []
    measured = {row["name"]: row["value"] for row in record["timings"]}
    for name in ("auto: step over dense forward", "triton: bytes of state a weight", "official: forward"):
        assert measured[name] > 0
    assert measured["tensors that differ after a checkpoint"] == 0


def test_the_product_takes_the_steps_that_are_timed():
    source = (BENCHMARK.parent / "gpu_timings.py").read_text()
    assert "maskpro.start(" in source
    assert "run.step(" in source
    assert "Stepper" not in source


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_leaves_with_two_and_one_line():
    done = _run()
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.strip().splitlines() == [
        "benchmarks/gpu.py: torch sees no CUDA device here; try --device cpu --small"
    ]

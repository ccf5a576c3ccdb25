"""Which build of torch is installed, and what `nmlab doctor` says of it beside the GPUs of the machine."""

import os

import pytest
import torch

from nmlab.platform.installation import torch_build
from nmlab.platform.installation.torch_build import NvidiaGpu, NvidiaSmiError, TorchBuild, UsableGpu, fit, nvidia_gpus

CPU = TorchBuild("2.13.0+cpu")
CUDA = TorchBuild("2.13.0", cuda="13.0")
H200 = NvidiaGpu("NVIDIA H200", "580.65.06")
OLD = NvidiaGpu("Tesla V100-SXM2-16GB", "535.104.05")


def reaching(capability, *architectures):
    return TorchBuild("2.13.0", "13.0", None, (UsableGpu("a GPU", capability),), architectures)


def test_the_installed_build_is_described():
    build = TorchBuild.installed()
    assert build.version == torch.__version__
    assert build.cuda == torch.version.cuda
    assert len(build.gpus) == (torch.cuda.device_count() if torch.cuda.is_available() else 0)


@pytest.mark.parametrize(
    ("build", "gpus", "verdict", "words"),
    [
        (CPU, [], "ok", ["2.13.0+cpu, built for CPUs only", "no NVIDIA GPU here"]),
        (CUDA, [], "ok", ["built for CUDA 13.0", "no NVIDIA GPU here"]),
        (TorchBuild("2.13.0+rocm7.1", rocm="7.1"), [], "ok", ["built for ROCm 7.1"]),
        (CPU, [H200, H200], "warning", ["NVIDIA H200", "driver 580.65.06", "torch==2.13.0+cu130", "whl/cu130"]),
        (CPU, [OLD], "warning", ["torch==2.13.0+cu126", "whl/cu126"]),
        (CPU, [NvidiaGpu("Tesla K80", "470.82.01")], "warning", ["a driver of at least 525 is needed"]),
        (CUDA, [OLD], "warning", ["needs driver 580 or newer", "driver 535.104.05", "torch==2.13.0+cu126"]),
        (CUDA, [H200], "warning", ["reaches no GPU", "CUDA_VISIBLE_DEVICES"]),
        (TorchBuild("3.0.0", cuda="14.1"), [H200], "warning", ["reaches no GPU"]),
        (reaching((9, 0), "sm_80", "sm_90"), [H200], "ok", ["reaches 1 GPU(s)"]),
        (reaching((7, 0), "sm_75", "sm_90"), [OLD], "warning", ["kernels for sm_75, sm_90", "none for a GPU (sm_70)"]),
    ],
)
def test_whether_a_build_fits(build, gpus, verdict, words):
    found, text = fit(build, gpus=gpus)
    assert found == verdict
    assert [word for word in words if word not in text] == []


def test_a_build_for_rocm_is_not_compared_with_cuda_architectures():
    build = TorchBuild("2.13.0+rocm7.1", None, "7.1", (UsableGpu("MI300X", (9, 4)),), ("gfx942",))
    assert fit(build, gpus=[])[0] == "ok"


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        (["sm_80"], (8, 0), True),
        (["sm_80"], (8, 6), True),
        (["sm_86"], (8, 0), False),
        (["sm_80"], (9, 0), False),
        (["sm_90a"], (9, 0), True),
        (["sm_120"], (12, 1), True),
        (["sm_100f"], (12, 0), False),
        (["compute_80"], (9, 0), True),
        (["compute_90"], (8, 6), False),
        ([], (8, 0), False),
    ],
)
def test_which_gpus_kernels_run_on(architectures, capability, runs):
    assert reaching(capability, *architectures).has_kernels_for(capability) is runs


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """Return a function that puts a command `nvidia-smi` on the path, which prints a text and ends with a code."""

    def put(printed, code=0):
        command = tmp_path / "nvidia-smi"
        command.write_text(f"#!/bin/sh\ncat <<'END'\n{printed}\nEND\nexit {code}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return put


def test_gpus_that_the_driver_shows(nvidia_smi):
    nvidia_smi("NVIDIA H200, 580.65.06\nNVIDIA H200, 580.65.06")
    assert nvidia_gpus() == [H200, H200]


def test_a_machine_without_the_driver(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_gpus() == []


def test_a_driver_that_does_not_answer_is_said(nvidia_smi, monkeypatch):
    nvidia_smi("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\nMore.", code=9)
    with pytest.raises(NvidiaSmiError, match=r"^NVIDIA-SMI has failed .* driver\.$"):
        nvidia_gpus()
    monkeypatch.setattr(torch_build.TorchBuild, "installed", lambda: CUDA)
    verdict, text = torch_build.check_torch_build()
    assert verdict == "warning"
    assert text.startswith("2.13.0, built for CUDA 13.0; nvidia-smi answers: NVIDIA-SMI has failed")

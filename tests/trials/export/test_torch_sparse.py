"""PyTorch's 2:4 kernels: which layers are converted, and what is said where there is no GPU to run them on.

The conversion itself runs on a GPU only; the last test does it where there is one.
"""

import json

import pytest
import torch

from nmlab.trials.export import formats
from nmlab.trials.export.exporter import export
from nmlab.trials.export.speed import measure_speed
from nmlab.trials.export.torch_sparse import TorchSparse, choose, load, unsupported_weight_reason

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch's 2:4 kernels need a CUDA GPU")


def test_a_layer_is_converted_only_where_it_wins():
    weights = {name: torch.zeros(rows, 64, dtype=torch.float16) for name, rows in (("a", 64), ("b", 128), ("c", 64))}
    asked = []

    def timer(weight_OI):
        asked.append(tuple(weight_OI.shape))
        return (2.0, 1.0) if weight_OI.shape[0] == 64 else (1.0, 0.99)

    verdicts = {verdict.layer: verdict for verdict in choose(weights, timer=timer)}
    assert asked == [(64, 64), (128, 64)], "each shape is timed once"
    assert [verdicts[name].sparse for name in "abc"] == [True, False, True]
    assert verdicts["a"].why == "2.00 times the speed of dense"
    assert verdicts["b"].why == "1.01 times the speed of dense, less than 1.05"


@pytest.mark.parametrize(
    ("shape", "dtype", "fits"),
    [
        ((64, 64), torch.float16, True),
        ((64, 64), torch.bfloat16, True),
        ((16, 16), torch.float16, True),
        ((24, 64), torch.float16, False),
        ((64, 24), torch.bfloat16, False),
        ((64, 64), torch.float64, False),
    ],
)
def test_shapes_that_no_kernel_takes_stay_dense(shape, dtype, fits):
    weight = torch.zeros(shape, dtype=dtype)
    assert (unsupported_weight_reason(weight) == "") == fits
    verdicts = choose({"a": weight}, timer=lambda _: (3.0, 1.0))
    assert verdicts[0].sparse == fits
    assert fits or verdicts[0].why.startswith("no kernel for")


@no_gpu
def test_without_a_gpu_the_format_is_refused(finished_trial, opened, tmp_path):
    with pytest.raises(
        ValueError, match="torch-sparse: PyTorch's 2:4 kernels need a CUDA GPU, and this machine has none"
    ):
        export(opened(finished_trial()), formats.get("torch-sparse"), folder=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pattern": "4:8", "dtype": "bfloat16"}, "the kernels are for 2:4, this model follows 4:8"),
        ({"dtype": "float32"}, "expected float16 or bfloat16, found float32"),
        ({"dtype": "bfloat16"}, None),
    ],
)
def test_what_the_kernels_cannot_do_is_refused(finished_trial, opened, monkeypatch, changes, message):
    subject = opened(finished_trial(**changes))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    reason = TorchSparse().unsupported_reason(subject)
    assert reason is None if message is None else message in reason
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "T4")
    assert "T4 is older than compute capability 8.0" in TorchSparse().unsupported_reason(subject)


def test_a_plan_for_another_machine_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"holds no sparse\.json"):
        load(tmp_path)
    (tmp_path / "sparse.json").write_text(json.dumps({"gpu": "another", "torch": "1.0", "layers": []}))
    with pytest.raises(ValueError, match=r"was timed on another with torch 1\.0"):
        load(tmp_path)


@no_gpu
def test_use_without_a_kernel_says_why(finished_trial, opened):
    from nmlab.trials.evaluation.throughput import Workload

    used = measure_speed(opened(finished_trial()), Workload(batch=2, prompt=500, generated=4, repeats=2))
    assert used["workload"]["prompt"] == 60, "prompt and answer fit the model's 64 positions"
    dense, masked, sparse = used["tokens_per_second"]
    assert all(speed[kind] > 0 for speed in (dense, masked) for kind in ("prefill", "decode"))
    assert (sparse["prefill"], sparse["decode"]) == (None, None)
    assert "need a CUDA GPU" in sparse["skipped"]
    flops = used["flops"]
    assert flops["with_pattern"] == flops["dense"] - flops["prunable"] // 2


@needs_gpu
def test_on_a_gpu_the_export_reloads_and_agrees(finished_trial, tmp_path):
    from nmlab.trials.export.subject import Base, open_subject

    folder = finished_trial(hidden_size=256, intermediate_size=512, dtype="float16")
    subject = open_subject(str(folder), base=Base(), device="cuda")
    facts = export(subject, formats.get("torch-sparse"), folder=tmp_path / "out")
    assert len(facts["layers"]) == len(subject.model.frozen.layers)
    assert load(tmp_path / "out").device.type == "cuda"

"""Quantised weights and adapters are refused in one line before a weight is read; FP8 in blocks is dequantised.

Legend: O outputs, I inputs, P and Q blocks of them.
"""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec
from nmlab.trials.models import FrozenModel, ModelSource, locate
from nmlab.trials.models.sources import BUILTIN
from nmlab.trials.sizing.preflight import preflight

TINY = BUILTIN["builtin:tiny"]
UP = "model.layers.0.mlp.up_proj.weight"
BLOCK = 16


@pytest.fixture
def folder(tmp_path):
    """A copy of the shipped checkpoint."""
    for path in [*TINY.glob("*.json"), *TINY.glob("*.safetensors")]:
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


def _edit(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


CONFIGURED = {
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128},
    "awq": {"quant_method": "awq", "bits": 4, "zero_point": True},
    "bitsandbytes": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "compressed-tensors": {"quant_method": "compressed-tensors", "format": "pack-quantized"},
    "torchao": {"quant_method": "torchao", "quant_type": {"default": {"_type": "Int8WeightOnlyConfig"}}},
    "hqq": {"quant_method": "hqq"},
    "eetq": {"quant_method": "eetq", "weights": "int8"},
    "mxfp4": {"quant_method": "mxfp4"},
    "a method of tomorrow": {"quant_method": "a method of tomorrow"},
    "fp8 without blocks": {"quant_method": "fp8", "activation_scheme": "static"},
    "nvfp4": {"quant_algo": "NVFP4"},
}


@pytest.mark.parametrize("method", CONFIGURED)
@pytest.mark.parametrize("part", [None, "text_config"])
def test_a_quantised_checkpoint_is_refused_by_its_configuration(folder, method, part):
    quantised = {"quantization_config": CONFIGURED[method]}
    _edit(folder, **(quantised if part is None else {part: quantised}))
    (folder / "model.safetensors").write_bytes(b"not read")
    with pytest.raises(SourceError, match=rf"its weights are quantised \({method}\)") as refused:
        locate(ModelSource(source=str(folder)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "method"),
    [
        ("quantize_config.json", {"bits": 4, "group_size": 128}, "4 bits"),
        ("quant_config.json", {"zero_point": True, "quant_method": "awq"}, "awq"),
        ("hf_quant_config.json", {"quantization": {"quant_algo": "FP8"}}, "fp8 without blocks"),
    ],
)
def test_so_is_one_that_only_another_file_shows(folder, name, content, method):
    (folder / name).write_text(json.dumps(content))
    with pytest.raises(SourceError, match=rf"quantised \({method}\)"):
        locate(ModelSource(source=str(folder)))


def test_two_four_weights_as_bitmasks_are_refused_with_what_reads_them(folder):
    _edit(
        folder,
        quantization_config={
            "quant_method": "compressed-tensors",
            "version": "0.9.4",
            "sparsity_config": {"format": "sparse-24-bitmask", "targets": ["Linear"], "sparsity_structure": "2:4"},
        },
    )
    with pytest.raises(SourceError, match=r"sparse-24-bitmask, which compressed-tensors .*0\.14.* read") as refused:
        locate(ModelSource(source=str(folder)))
    assert "\n" not in str(refused.value)


def test_an_empty_setting_says_nothing(folder):
    _edit(folder, quantization_config=None, compression_config={})
    assert locate(ModelSource(source=str(folder))) == folder


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_adapter_files_beside_full_weights_are_refused(folder, name):
    content = json.dumps({"base_model_name_or_path": "org/base", "peft_type": "LORA"})
    (folder / name).write_text(content)
    of = " for org/base" if name.endswith(".json") else ""
    with pytest.raises(SourceError, match=rf"an adapter{of} \({name}\) lies beside the full weights.*merge") as refused:
        locate(ModelSource(source=str(folder)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("has_config", [True, False])
def test_an_adapter_alone_is_refused_with_its_base(folder, has_config):
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "org/base"}))
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    if not has_config:
        (folder / "config.json").unlink()
    with pytest.raises(SourceError, match=r"is an adapter for org/base .*, not a model; merge it into its base"):
        locate(ModelSource(source=str(folder)))


def _as_fp8(folder):
    """Store the layers of the blocks as FP8 with a scale for every 16 x 16 weights; return their dequantised values."""
    plain, stored = {}, {}
    for name, weight_OI in load_file(folder / "model.safetensors").items():
        if not name.endswith("_proj.weight"):
            stored[name] = plain[name] = weight_OI
            continue
        outputs, inputs = weight_OI.shape
        rows, columns = -(-outputs // BLOCK), -(-inputs // BLOCK)
        padded = torch.zeros(rows * BLOCK, columns * BLOCK)
        padded[:outputs, :inputs] = weight_OI
        scale_PQ = padded.view(rows, BLOCK, columns, BLOCK).abs().amax((1, 3)) / 448
        factors = torch.kron(scale_PQ, torch.ones(BLOCK, BLOCK))[:outputs, :inputs]
        stored[name] = (weight_OI / factors).to(torch.float8_e4m3fn)
        stored[f"{name}_scale_inv"] = scale_PQ
        plain[name] = stored[name].float() * factors
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    _edit(folder, quantization_config={"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK]})
    return plain


def test_fp8_in_blocks_is_dequantised(folder):
    dense = load_file(TINY / "model.safetensors")[UP]
    plain = _as_fp8(folder)
    frozen = FrozenModel.load(ModelSource(source=str(folder)))
    assert torch.equal(frozen.module.get_parameter(UP), plain[UP])
    assert not torch.equal(plain[UP], dense)
    assert len(frozen.layers) == 14
    assert frozen.stored == "stored as FP8, dequantised to float32"
    assert FrozenModel.load(ModelSource(source=str(folder), dtype="bfloat16")).module.dtype == torch.bfloat16


def test_a_plan_says_so_without_reading_the_weights(folder, text_file):
    _as_fp8(folder)
    (folder / "model.safetensors").write_bytes(b"not read")
    calibration = CalibrationSpec(source=f"{text_file}[:50%]", samples=2, sequence_length=16)
    evaluation = EvaluationSpec(source=f"{text_file}[50%:]", sequence_length=16)
    facts = preflight(
        ModelSource(source=str(folder)), patterns=[Pattern(2, 4)], calibration=calibration, evaluation=evaluation
    )
    assert facts.stored == "stored as FP8, dequantised to float32"
    assert facts.layers == 14


def test_fp8_whose_scales_do_not_fit_is_refused_by_name(folder):
    _as_fp8(folder)
    weights = load_file(folder / "model.safetensors")
    weights[f"{UP}_scale_inv"] = torch.ones(1, 1)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SourceError, match=r"mlp\.up_proj\.weight: stored as FP8 .* with the scales \(1, 1\)"):
        FrozenModel.load(ModelSource(source=str(folder)))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", [UP, "model.norm.weight"])
def test_weights_that_are_no_numbers_are_refused_by_name(folder, value, name):
    weights = load_file(folder / "model.safetensors")
    weights[name].view(-1)[3] = value
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    message = rf"1 of the \d+ values of {name} are NaN or infinite in float32"
    with pytest.raises(SourceError, match=message) as refused:
        FrozenModel.load(ModelSource(source=str(folder)))
    assert "\n" not in str(refused.value)


def test_so_are_those_that_the_asked_type_cannot_hold(folder):
    weights = load_file(folder / "model.safetensors")
    weights[UP].view(-1)[0] = 1e6
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert FrozenModel.load(ModelSource(source=str(folder))).layers
    with pytest.raises(SourceError, match=r"mlp\.up_proj\.weight are NaN or infinite in float16; .* another dtype"):
        FrozenModel.load(ModelSource(source=str(folder), dtype="float16"))

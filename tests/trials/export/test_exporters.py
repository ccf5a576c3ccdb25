"""Every format: an export that is read back equals its model, or nothing is left behind."""

import json
import math

import numpy as np
import pytest
import safetensors.torch
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.sections import EvaluationSpec
from nmlab.trials.evaluation import evaluate
from nmlab.trials.export import exporter, formats
from nmlab.trials.export.exporter import ExportError, export, probe
from nmlab.trials.models import FrozenModel, ModelSource

HERE = [name for name in formats.names() if name != "torch-sparse"]  # that one needs a GPU, and has its own tests


@pytest.fixture(scope="module")
def llama(finished_trial, opened):
    return opened(finished_trial())


def _logits(module, subject):
    with torch.no_grad():
        return module(input_ids=probe(subject), use_cache=False).logits


@pytest.fixture(scope="module")
def written(llama, tmp_path_factory):
    """Export the model in a format, once; returns the folder and the facts."""
    made = {}

    def write(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name) / "out"
            made[name] = folder, export(llama, formats.get(name), folder=folder)
        return made[name]

    return write


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "onnx" else []) for name in HERE]
)
def test_what_is_written_is_the_model_and_the_mask(llama, written, name):
    folder, facts = written(name)
    assert facts["verified"]["layers"] == len(llama.model.frozen.layers)
    assert facts["verified"]["largest_difference"] <= facts["verified"]["tolerance"] <= 1e-4
    assert (facts["pattern"], facts["method"], facts["format"]) == ("2:4", "magnitude", name)
    assert facts["trial_key"] == llama.spec.key
    assert json.loads((folder / "nmlab.json").read_text()) == facts
    assert [path.name for path in folder.parent.iterdir()] == ["out"], "nothing partial is left"
    assert llama.model.frozen.unchanged()


@pytest.mark.parametrize("name", HERE)
def test_a_place_that_is_taken_is_left_alone(llama, tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("mine")
    with pytest.raises(ValueError, match="is not an empty folder"):
        export(llama, formats.get(name), folder=tmp_path / "out")
    with pytest.raises(ValueError, match="cannot be written"):
        export(llama, formats.get(name), folder=tmp_path / "out" / "file" / "below")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["file"]


@pytest.mark.parametrize("name", HERE)
def test_a_dense_model_has_no_mask_to_export(checkpoint, opened, tmp_path, name):
    with pytest.raises(SourceError, match="follows no N:M pattern"):
        export(opened(checkpoint()), formats.get(name), folder=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def _another_weight(weights):
    name = "model.layers.1.mlp.up_proj"
    weights[name] = weights[name].clone()
    weights[name][0, 0] += 1.0


def _negative_zero(weights):
    name = "model.layers.1.mlp.up_proj"
    weights[name] = torch.where(weights[name] == 0, -0.0, weights[name])


def _lost(weights):
    del weights["model.layers.1.mlp.up_proj"]


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize(
    ("change", "message"),
    [(_another_weight, "has other weights"), (_negative_zero, r"holds -0\.0"), (_lost, "is not in the files")],
)
def test_verification_names_the_layer_that_differs(llama, tmp_path, monkeypatch, name, change, message):
    """The files are replaced by what a broken writer would have left; only reading them back shows it."""
    kind = type(formats.get(name))
    weights = {at: weight + 0.0 for at, weight in llama.weights().items()}
    change(weights)
    monkeypatch.setattr(kind, "write", lambda self, subject, folder: {})
    monkeypatch.setattr(kind, "read_weights", lambda self, subject, folder: weights)
    with pytest.raises(ExportError, match=rf"model\.layers\.1\.mlp\.up_proj.* {message}"):
        export(llama, formats.get(name), folder=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [math.nan, 1.0])
def test_verification_refuses_other_logits(llama, tmp_path, monkeypatch, wrong):
    kind = type(formats.get("hf"))
    own = kind.read_logits
    monkeypatch.setattr(kind, "read_logits", lambda *arguments: own(*arguments) + wrong)
    with pytest.raises(ExportError, match="hf: logits differ by"):
        export(llama, formats.get("hf"), folder=tmp_path / "out")


def test_an_unknown_format_gives_the_nearest_name():
    with pytest.raises(ValueError, match="unknown format 'onx'; did you mean 'onnx'"):
        formats.get("onx")


def test_the_format_of_earlier_versions_is_refused_with_what_reads_it():
    assert "sparse-24-bitmask" not in formats.names()
    with pytest.raises(ValueError, match=r"no longer written \(compressed-tensors 0\.9\.4 to 0\.14 and .* read it\)"):
        formats.get("sparse-24-bitmask")


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("llama", {"pattern": "4:8"}),
        ("qwen2", {"tie_word_embeddings": True}),
        ("opt", {}),
        ("llama", {"dtype": "bfloat16"}),
        ("llama", {"doubled": True}),
    ],
)
def test_a_hugging_face_folder_reloads_in_transformers(finished_trial, opened, tmp_path, architecture, changes):
    subject = opened(finished_trial(architecture, **changes))
    facts = export(subject, formats.get("hf"), folder=tmp_path / "out")
    dtype = getattr(torch, subject.model.frozen.source.dtype)
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto").eval()
    assert reloaded.dtype == dtype
    assert torch.equal(_logits(reloaded, subject), _logits(subject.model.module, subject))
    for path in (tmp_path / "out").glob("*.safetensors"):
        stored = safetensors.torch.load_file(path)
        assert not any(bool(((tensor == 0) & tensor.signbit()).any()) for tensor in stored.values())
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert tokenizer("two of four")["input_ids"] == subject.model.frozen.tokenizer("two of four")["input_ids"]
    assert bool(facts["tied"]) == (architecture in ("opt", "qwen2"))
    card = (tmp_path / "out" / "README.md").read_text()
    assert all(text in card for text in (facts["pattern"], subject.spec.key, subject.model.frozen.digest, "speed"))


@pytest.mark.parametrize("doubled", [False, True])
def test_a_trial_keeps_its_losses_through_bundle_and_checkpoint(finished_trial, opened, text_file, tmp_path, doubled):
    """Run -> bundle -> apply, and run -> hf -> bundle -> apply: bit for bit."""
    subject = opened(finished_trial(doubled=doubled))
    spec = EvaluationSpec(source=str(text_file), sequence_length=32, windows=4, batch_size=2)
    expected = evaluate(subject.model, spec).perplexity.loss_sum
    export(subject, formats.get("mask"), folder=tmp_path / "mask")
    export(subject, formats.get("hf"), folder=tmp_path / "hf")
    export(opened(tmp_path / "hf"), formats.get("mask"), folder=tmp_path / "again")
    for place in ("mask", "hf", "again"):
        found = evaluate(opened(tmp_path / place).model, spec).perplexity.loss_sum
        np.testing.assert_array_equal(found, expected)
    masks, pattern = subject.masks()
    again, found_pattern = opened(tmp_path / "again").masks()
    assert pattern == found_pattern
    assert all(torch.equal(again[name], masks[name]) for name in masks)


@pytest.mark.slow
@pytest.mark.slow
def test_an_onnx_graph_takes_any_number_of_tokens(llama, written):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
    folder, _ = written("onnx")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    for shape in ((1, 1), (3, 7), (2, 40)):
        tokens = torch.randint(512, shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            expected = llama.model.module(input_ids=tokens, use_cache=False).logits.numpy()
        found = session.run(["logits"], {"input_ids": tokens.numpy()})[0]
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_onnx_wants_float32(finished_trial, opened, tmp_path):
    subject = opened(finished_trial(dtype="bfloat16"))
    with pytest.raises(ValueError, match="onnx: expected a model in float32, found bfloat16"):
        export(subject, formats.get("onnx"), folder=tmp_path / "out")


def test_without_the_extra_onnx_says_how_to_install_it(llama, tmp_path, monkeypatch):
    monkeypatch.setattr("nmlab.trials.export.onnx_file.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'nmlab\[onnx\]'"):
        export(llama, formats.get("onnx"), folder=tmp_path / "out")


def test_the_probe_is_the_same_for_one_model_and_fits_it(llama, checkpoint):
    assert torch.equal(probe(llama), probe(llama))
    short = FrozenModel.load(ModelSource(source=str(checkpoint("opt", max_position_embeddings=16))))
    subject = exporter.Subject("checkpoint", type(llama.model)(short))
    assert probe(subject).shape == (2, 16)

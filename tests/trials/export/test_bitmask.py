"""The layout sparse-24-bitmask: byte for byte what compressed-tensors wrote, and back; damage is named."""

import json
import random

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.export import bitmask, formats
from nmlab.trials.export.bitmask import FORMAT, compress, decompress, load, read_state
from nmlab.trials.export.exporter import ExportError, export, probe
from nmlab.trials.masks.topn import topn

PARTS = (".compressed", ".bitmask", ".shape")
LAYER = "model.layers.1.mlp.up_proj"


@pytest.fixture(scope="module")
def written(finished_trial, opened, tmp_path_factory):
    """Export a small model once; returns the subject, the folder and the facts."""
    subject, folder = opened(finished_trial()), tmp_path_factory.mktemp("bitmask") / "out"
    return subject, folder, export(subject, formats.get(FORMAT), folder=folder)


@pytest.fixture
def damaged(written, tmp_path):
    """Copy the export with some of its tensors changed: damaged(lambda tensors: ...); returns the folder."""

    def copy(change):
        tensors = safetensors.torch.load_file(written[1] / "model.safetensors")
        change(tensors)
        safetensors.torch.save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
        (tmp_path / "config.json").write_text((written[1] / "config.json").read_text())
        return tmp_path

    return copy


@pytest.mark.parametrize("name", ["square", "wide", "half"])
def test_parts_are_those_of_the_library(load_parity, name):
    """Recorded from compressed-tensors 0.9.4; rows of 20 and 12 inputs do not fill their last byte."""
    stored = load_parity("sparse_24_bitmask/library")
    dense, mask = stored[f"{name}/dense"], stored[f"{name}/mask"]
    parts = compress(dense, mask)
    for part in PARTS:
        expected = stored[f"{name}/{part[1:]}"]
        assert parts[part].dtype == expected.dtype
        assert torch.equal(parts[part], expected)
    assert torch.equal(decompress(parts, name=name), dense)


@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 2**32 - 1), st.sampled_from(["float32", "bfloat16"]))
@settings(max_examples=100, deadline=None)
def test_every_weight_comes_back(outputs, groups, seed, dtype):
    draw = torch.Generator().manual_seed(seed)
    weight = torch.randn(outputs, 4 * groups, generator=draw).to(getattr(torch, dtype))
    weight[torch.rand(weight.shape, generator=draw) < 0.2] = 0.0  # what is kept may be zero
    mask = topn(torch.rand(weight.shape, generator=draw), Pattern(2, 4))
    parts = compress(weight, mask)
    assert parts[".compressed"].shape == (outputs, 2 * groups)
    assert torch.equal(decompress(parts, name="layer"), weight * mask + 0.0)


def test_the_folder_describes_its_contents_to_the_library(written):
    subject, folder, facts = written
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    assert (config["quant_method"], config["version"]) == ("compressed-tensors", "0.9.4")
    own = config["sparsity_config"]
    assert (own["format"], own["sparsity_structure"], own["targets"]) == (FORMAT, "2:4", ["Linear"])
    assert own["ignore"] == facts["not_pruned"] == ["model.embed_tokens", "lm_head"]
    state = read_state(folder)
    zeros = sum(int((tensor == 0).sum()) for tensor in state.values()) / sum(t.numel() for t in state.values())
    assert own["global_sparsity"] == pytest.approx(zeros)
    stored = set(safetensors.torch.load_file(folder / "model.safetensors"))
    for layer in subject.model.frozen.layers:
        assert {f"{layer.name}{part}" for part in PARTS} <= stored
        assert f"{layer.name}.weight" not in stored
    assert facts["packed_bytes"] == pytest.approx(17 / 32 * facts["dense_bytes"], rel=0.05)  # and 16 bytes a shape
    assert "support ended in 2026" in (folder / "README.md").read_text()
    assert "legacy" in formats.get(FORMAT).about


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("qwen2", {"tie_word_embeddings": True}),
        ("opt", {}),
        ("llama", {"dtype": "bfloat16"}),
        ("llama", {"doubled": True}),
    ],
)
def test_models_of_all_kinds_come_back_whole(finished_trial, opened, tmp_path, architecture, changes):
    subject = opened(finished_trial(architecture, **changes))
    export(subject, formats.get(FORMAT), folder=tmp_path / "out")
    model, tokens = load(tmp_path / "out"), probe(subject)
    assert model.dtype == getattr(torch, subject.model.frozen.source.dtype)
    with torch.no_grad():
        found, expected = (module(input_ids=tokens, use_cache=False).logits for module in (model, subject.model.module))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("pattern", ["4:8", "1:4"])
def test_other_patterns_are_refused(finished_trial, opened, tmp_path, pattern):
    subject = opened(finished_trial(pattern=pattern))
    with pytest.raises(ValueError, match=f"{FORMAT}: the layout is for 2:4, this model follows {pattern}"):
        export(subject, formats.get(FORMAT), folder=tmp_path / "out")


def test_a_model_in_several_files_is_read_as_one(written, tmp_path):
    _, folder, _ = written
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    names = sorted(tensors)
    for number, part in enumerate((names[::2], names[1::2]), start=1):
        chosen = {name: tensors[name] for name in part}
        safetensors.torch.save_file(chosen, tmp_path / f"model-0000{number}-of-00002.safetensors")
    again, whole = read_state(tmp_path), read_state(folder)
    assert again.keys() == whole.keys()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in again.items())


def _lose(part):
    return lambda tensors: tensors.pop(f"{LAYER}{part}")


def _flip(tensors):
    tensors[f"{LAYER}.bitmask"] = tensors[f"{LAYER}.bitmask"] ^ 1


def _cut(tensors):
    tensors[f"{LAYER}.compressed"] = tensors[f"{LAYER}.compressed"][:, :-1].contiguous()


def _reshape(tensors):
    tensors[f"{LAYER}.shape"] = tensors[f"{LAYER}.shape"].flip(0).contiguous()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_lose(".compressed"), "is not in the files"),
        (_lose(".shape"), "is not in the files"),
        (_flip, "its bits are no 2:4 mask"),
        (_cut, "values and bits"),
        (_reshape, "values and bits"),
    ],
)
def test_damage_is_reported_with_the_layer(damaged, change, message):
    with pytest.raises(ValueError, match=rf"layer '{LAYER}': .*{message}"):
        read_state(damaged(change))


def test_damage_anywhere_is_refused_or_leaves_a_2_4_model(written, tmp_path):
    """The layout has no digests: what cannot be noticed is another value, never another pattern or a crash."""
    whole, draw, refused = (written[1] / "model.safetensors").read_bytes(), random.Random(0), 0
    names = [f"{layer.name}.weight" for layer in written[0].model.frozen.layers]
    for _ in range(500):
        spoilt, at = bytearray(whole), draw.randrange(len(whole))
        if draw.random() < 0.8:
            spoilt[at] = draw.randrange(256)
        else:
            del spoilt[at : at + draw.randint(1, 9)]
        (tmp_path / "model.safetensors").write_bytes(spoilt)
        try:
            state = read_state(tmp_path)
        except ValueError:
            refused += 1
            continue
        for weight in (state[name] for name in names if name in state):
            assert bool(((weight != 0).view(-1, 4).sum(1) <= 2).all())
    assert refused > 100


def test_a_tensor_too_many_or_too_few_is_noticed(damaged):
    with pytest.raises(ExportError, match=r"model\.norm\.weight"):
        load(damaged(lambda tensors: tensors.pop("model.norm.weight")))
    with pytest.raises(ExportError, match="stranger"):
        load(damaged(lambda tensors: tensors.update(stranger=torch.zeros(1))))


def test_other_folders_are_no_such_export(checkpoint, tmp_path):
    with pytest.raises(ValueError, match="holds no layer in the layout"):
        read_state(checkpoint())
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        read_state(tmp_path)


def test_verification_finds_a_wrong_bit_order(finished_trial, opened, tmp_path, monkeypatch):
    """A writer that numbers bits from the other end makes another model, and nothing of it is left."""
    right = bitmask.compress

    def wrong(weight, mask):
        parts = right(weight, mask)
        return {**parts, ".bitmask": right(weight, mask.flip(1))[".bitmask"].flip(1)}

    monkeypatch.setattr(bitmask, "compress", wrong)
    with pytest.raises((ValueError, ExportError), match=r"model\.layers\.0"):
        export(opened(finished_trial()), formats.get(FORMAT), folder=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_dense_model_is_refused(checkpoint, opened, tmp_path):
    with pytest.raises(SourceError, match="follows no N:M pattern"):
        export(opened(checkpoint()), formats.get(FORMAT), folder=tmp_path / "out")

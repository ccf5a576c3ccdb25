"""Finding and loading a checkpoint: whole, or refused in one line that says what is wrong."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.model_settings import model_source
from nmlab.trials.models import FrozenModel, ModelSource, locate
from nmlab.trials.models.sources import BUILTIN

TINY = BUILTIN["builtin:tiny"]


@pytest.fixture
def folder(tmp_path):
    """A copy of the shipped checkpoint."""
    for path in [*TINY.glob("*.json"), *TINY.glob("*.safetensors")]:
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


def test_the_built_in_model_and_a_folder_are_found(folder, monkeypatch):
    assert locate(ModelSource(source="builtin:tiny")) == TINY
    monkeypatch.chdir(folder.parent)
    assert locate(ModelSource(source=folder.name)) == locate(ModelSource(source=f"./{folder.name}")) == folder


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("builtin:tyni", "unknown model 'builtin:tyni'; did you mean 'builtin:tiny'"),
        ("./no/such/folder", "does not exist; there is no folder 'no'"),
        ("/no/such/folder", "does not exist"),
        ("a/b/c", "does not exist"),
        ("not a valid id!", "neither a folder here nor a hub id"),
    ],
)
def test_a_source_that_is_none_is_refused(source, message):
    with pytest.raises(SourceError, match=message) as refused:
        locate(ModelSource(source=source))
    assert "\n" not in str(refused.value)


def test_an_unknown_dtype_gives_the_nearest_name():
    with pytest.raises(SourceError, match="unknown dtype 'bfloat'; did you mean 'bfloat16'"):
        model_source({"source": "builtin:tiny", "dtype": "bfloat"})


def test_an_empty_source_is_refused_unless_it_was_kept():
    with pytest.raises(SourceError, match=r"^model '': expected text that is not empty$"):
        model_source({"source": ""})
    assert model_source({"source": "", "revision": ""}, from_record=True).revision == ""


def _edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _lose_a_weight(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.down_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _lose_the_tokenizer(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()


_DAMAGE = {
    "no config": (lambda folder: (folder / "config.json").unlink(), "holds no config.json"),
    "no safetensors": (lambda folder: (folder / "model.safetensors").unlink(), "convert the weights to safetensors"),
    "config cut short": (lambda folder: (folder / "config.json").write_text("{"), "could not be loaded"),
    "weights cut short": (
        lambda folder: (folder / "model.safetensors").write_bytes((TINY / "model.safetensors").read_bytes()[:1000]),
        "could not be loaded",
    ),
    "unknown architecture": (
        lambda folder: _edit(folder / "config.json", model_type="no-such", architectures=["NoSuch"]),
        "could not be loaded",
    ),
    "other shapes": (lambda folder: _edit(folder / "config.json", intermediate_size=64), "could not be loaded"),
    "a weight missing": (_lose_a_weight, r"lacks 1 of its weights, such as model\.layers\.1\.mlp\.down_proj\.weight"),
    "no tokenizer": (_lose_the_tokenizer, "holds no tokenizer"),
    "tokenizer damaged": (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer could not be read"),
}


@pytest.mark.parametrize("damage", _DAMAGE)
def test_a_damaged_checkpoint_is_refused_in_one_line(folder, damage):
    spoil, message = _DAMAGE[damage]
    spoil(folder)
    with pytest.raises(SourceError, match=message) as refused:
        FrozenModel.load(ModelSource(source=str(folder)))
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_weights_are_loaded_in_the_dtype_asked_for(dtype):
    frozen = FrozenModel.load(ModelSource(source="builtin:tiny", dtype=dtype))
    assert {parameter.dtype for parameter in frozen.module.parameters()} == {getattr(torch, dtype)}
    assert not any(parameter.requires_grad for parameter in frozen.module.parameters())
    assert not frozen.module.training


def test_two_loads_give_one_digest_and_other_weights_another(folder):
    digests = {FrozenModel.load(ModelSource(source=str(folder))).digest for _ in range(2)}
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][3] += 1e-6
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert len(digests) == 1
    assert FrozenModel.load(ModelSource(source=str(folder))).digest not in digests

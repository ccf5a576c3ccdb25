"""Masks in Python: applied to models of transformers in place, written, read and refused."""

import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import nmlab

SMALL = {"samples": 4, "sequence_length": 32, "batch_size": 2, "windows": 4, "progress": False}


@pytest.fixture(scope="module")
def ran(tmp_path_factory, migrated_database):
    """A folder with a store and one finished trial, which tests only read."""
    folder = tmp_path_factory.mktemp("masks")
    shutil.copyfile(migrated_database, folder / "nmlab.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return folder, nmlab.run("magnitude", **SMALL)


@pytest.fixture
def trial(ran, monkeypatch):
    folder, trial = ran
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return trial


def zeros(model, mask):
    """Return whether the weights that a mask drops, and no others of its layers, are zero."""
    return all(torch.equal(model.get_submodule(name).weight != 0, kept) for name, kept in mask.tensors.items())


def test_a_mask_is_applied_in_place_to_an_ordinary_model(trial):
    mask, model = trial.mask, nmlab.load_model("builtin:tiny")
    weights = dict(model.named_parameters())
    before = {name: weight.clone() for name, weight in weights.items()}
    assert mask.apply(model) is model
    assert zeros(model, mask)
    for name, weight in model.named_parameters():
        assert weight is weights[name], "parameters are written, not exchanged"
        kept = mask.tensors.get(name.removesuffix(".weight"), torch.ones_like(weight, dtype=torch.bool))
        assert torch.equal(weight, before[name] * kept)
    place = model.name_or_path
    fresh = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32)
    assert zeros(mask.apply(fresh), mask), "a model that transformers itself loaded"
    tokens = AutoTokenizer.from_pretrained(place)("def f(x):", return_tensors="pt")["input_ids"]
    assert torch.equal(model(tokens).logits, fresh(tokens).logits)


def test_a_masked_model_has_the_perplexity_of_its_trial(trial, tmp_path):
    model = trial.mask.apply()
    model.save_pretrained(tmp_path / "pruned")
    AutoTokenizer.from_pretrained(model.name_or_path).save_pretrained(tmp_path / "pruned")
    sizes = {name: SMALL[name] for name in ("sequence_length", "batch_size", "windows")}
    found = nmlab.evaluate(tmp_path / "pruned", **sizes)
    assert found.perplexity == pytest.approx(trial.perplexity)
    assert (found.pattern, found.density) == ("2:4", pytest.approx(0.5, abs=0.01))


def test_other_weights_are_refused_unless_they_are_allowed(trial):
    mask = trial.mask
    model = nmlab.load_model("builtin:tiny", dtype="bfloat16")
    with pytest.raises(ValueError, match=r"this model in bfloat16 has .*; load it in the number type of the trial"):
        mask.apply(model)
    assert not zeros(model, mask), "nothing is written where something does not fit"
    assert zeros(mask.apply(model, other_weights=True), mask)


def test_a_model_of_another_shape_is_refused_whole(trial):
    model = nmlab.load_model("builtin:tiny")
    model.model.layers[1].mlp.up_proj = torch.nn.Linear(8, 8, bias=False)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    with pytest.raises(ValueError, match=r"model\.layers\.1\.mlp\.up_proj is .* in the mask, \(8, 8\) here"):
        trial.mask.apply(model, other_weights=True)
    del model.model.layers[1].mlp.up_proj
    with pytest.raises(ValueError, match=r"no linear layer .model\.layers\.1\.mlp\.up_proj."):
        trial.mask.apply(model, other_weights=True)
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


def test_a_method_that_changes_weights_brings_them(tracking_uri, tmp_path):
    trial = nmlab.run("sparsegpt", **SMALL)
    dense, model = nmlab.load_model("builtin:tiny"), trial.mask.apply()
    name = trial.mask.layers[0]
    kept = trial.mask.tensors[name]
    assert zeros(model, trial.mask)
    assert not torch.equal(model.get_submodule(name).weight[kept], dense.get_submodule(name).weight[kept])
    again = nmlab.load_mask(trial.mask.save(tmp_path / "kept.safetensors"))
    assert (tmp_path / "weights.safetensors").is_file()
    assert torch.equal(again.apply().get_submodule(name).weight, model.get_submodule(name).weight)


def test_a_mask_is_written_and_read_again(trial, tmp_path):
    mask = trial.mask
    written = mask.save(tmp_path)
    assert written == tmp_path / "mask.safetensors"
    for again in (nmlab.load_mask(written), nmlab.load_mask(tmp_path), nmlab.load_mask(trial.folder)):
        assert (again.pattern, again.method, again.trial) == ("2:4", "magnitude", trial.key)
        assert again.layers == mask.layers
        assert all(torch.equal(again.tensors[name], mask.tensors[name]) for name in mask.layers)
    assert zeros(nmlab.load_mask(written).apply(), mask)
    with pytest.raises(ValueError, match="exists already"):
        mask.save(written)
    with pytest.raises(ValueError, match=r"no mask '.*nothing'; expected a mask bundle"):
        nmlab.load_mask(tmp_path / "nothing")
    written.write_bytes(written.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"mask\.safetensors"):
        nmlab.load_mask(written)


def test_a_mask_describes_itself(trial):
    mask = trial.mask
    frame = mask.summary()
    assert list(frame["layer"]) == list(mask.layers)
    assert (frame["density"] == 0.5).all()
    assert frame["kept"].sum() * 2 == (frame["rows"] * frame["columns"]).sum() == 26_624
    assert mask.density == 0.5
    assert repr(mask) == f"Mask(magnitude 2:4 of builtin:tiny, 14 layers, trial {trial.key})"
    assert "26,624" in mask._repr_html_()


def test_a_mask_comes_from_mlflow_where_the_folder_is_gone(tracking_uri):
    trial = nmlab.run("magnitude", **SMALL)
    expected = trial.mask
    shutil.rmtree(trial.folder)
    found = nmlab.load_result(trial.key)
    assert found.folder is None
    assert found.mask.layers == expected.layers
    assert all(torch.equal(found.mask.tensors[name], expected.tensors[name]) for name in expected.layers)


def test_a_run_that_is_asked_again_is_the_same_trial(trial):
    again = nmlab.run("magnitude", **SMALL)
    assert (again.key, again.metrics["eval/perplexity"]) == (trial.key, trial.perplexity)
    assert nmlab.load_result(trial.configuration).trials[0].key == trial.key


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "magnitud"}, "unknown method 'magnitud'; did you mean 'magnitude'?"),
        ({"method": "maskpro", "hyperparameters": {"alfa": 1}}, "alfa"),
        ({"method": "magnitude", "pattern": "2:5"}, "does not divide"),
        ({"method": "magnitude", "model": "./nowhere"}, "model folder './nowhere' does not exist"),
        ({"method": "magnitude", "sequence_length": 1}, "--sequence-length 1"),
        ({"method": "magnitude", "tracking_uri": "sqlite:////proc/no/nmlab.db"}, "tracking store"),
        ({"method": "magnitude", "results": "s3://bucket/x"}, "results folder 's3://bucket/x': expected a path"),
    ],
)
def test_what_cannot_be_run_is_one_line(tracking_uri, arguments, message):
    with pytest.raises(ValueError) as error:
        nmlab.run(**{**SMALL, **arguments})
    assert message in str(error.value)
    assert "\n" not in str(error.value)

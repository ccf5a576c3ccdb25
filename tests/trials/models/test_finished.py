"""A finished mask is applied as it was evaluated, new weights included; damage and mistakes are refused."""

import shutil

import pytest
import safetensors.torch
import torch

from nmlab.trials.evaluation import measure_perplexity
from nmlab.trials.masks.bundle import read_bundle
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.finished import load_finished
from nmlab.trials.testing import small_replica
from nmlab.trials.trial.run import run_trial

SOME = "model.layers.0.mlp.down_proj"


@pytest.fixture(scope="module")
def finished(replica, make_spec, listener, tmp_path_factory):
    """Return folders of finished trials by method, and the final metrics of each."""
    folders, results = {}, {}
    for method in ("sparsegpt", "wanda"):
        folders[method] = tmp_path_factory.mktemp(method)
        results[method] = run_trial(make_spec(method), replica=replica, folder=folders[method], events=listener())
    return folders, results


@pytest.fixture
def folder(finished, tmp_path):
    """Return a copy of the artifacts of sparsegpt, to be damaged."""
    return shutil.copytree(finished[0]["sparsegpt"], tmp_path / "copy")


def _perplexity(model, replica, spec):
    return measure_perplexity(model, replica.held_out(spec.evaluation), batch_size=spec.evaluation.batch_size).per_token


@pytest.mark.parametrize("method", ["sparsegpt", "wanda"])
def test_a_finished_mask_is_applied_as_it_was_evaluated(finished, replica, make_spec, method):
    folders, results = finished
    model = MaskedModel(replica.frozen)
    load_finished(folders[method]).apply_to(model)
    assert _perplexity(model, replica, make_spec(method)) == results[method].metrics["eval/token_perplexity"]
    assert replica.frozen.unchanged()


def test_without_its_weights_sparsegpt_is_another_model(finished, replica, make_spec):
    """The mask without the weights file gives another perplexity, and nothing else would show that it is missing."""
    folders, results = finished
    model = MaskedModel(replica.frozen)
    model.apply_masks(load_finished(folders["sparsegpt"]).masks)
    assert _perplexity(model, replica, make_spec("sparsegpt")) != results["sparsegpt"].metrics["eval/token_perplexity"]


def test_the_bundle_itself_is_a_target_too(finished):
    folders, _ = finished
    by_file, by_folder = load_finished(folders["sparsegpt"] / "mask.safetensors"), load_finished(folders["sparsegpt"])
    assert by_file.info == by_folder.info
    assert by_file.weights.keys() == by_folder.weights.keys() == by_folder.masks.keys()
    assert load_finished(folders["wanda"]).weights is None


def test_a_mask_whose_weights_are_gone_is_refused(folder):
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ValueError, match=r"sparsegpt changed the weights; expected them beside it, in weights\."):
        load_finished(folder)


def _rewrite(path, change):
    with safetensors.safe_open(path, framework="pt") as file:
        header = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    change(tensors, header)
    safetensors.torch.save_file(tensors, path, metadata=header)


def _nudge(tensors, header):
    kept = tensors[f"{SOME}.weight"].nonzero()[0]
    tensors[f"{SOME}.weight"][tuple(kept)] *= 1.0001


def _drop(tensors, header):
    del tensors[f"{SOME}.weight"]


def _unknown_format(tensors, header):
    header["format"] = "other"


def _no_info(tensors, header):
    del header["info"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_nudge, rf"damaged, tensor '{SOME}\.weight' does not match its digest"),
        (_drop, rf"tensor '{SOME}\.weight' is not both in the file and in its header"),
        (_unknown_format, "expected format nmlab-weights/1, found 'other'"),
        (_no_info, "damaged header"),
    ],
)
def test_weights_that_were_tampered_with_are_refused(folder, change, message):
    path = folder / "weights.safetensors"
    _rewrite(path, change)
    with pytest.raises(ValueError, match=message) as refused:
        load_finished(folder)
    assert str(path) in str(refused.value)


def test_weights_that_are_cut_short_name_the_tensor(folder):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"cut short, tensor 'model\..*weight' is not whole"):
        load_finished(folder)


def test_weights_of_another_trial_are_refused(finished, folder, replica, make_spec, listener, tmp_path):
    other = tmp_path / "other"
    run_trial(make_spec("sparsegpt", damping=0.5), replica=replica, folder=other, events=listener())
    shutil.copyfile(other / "weights.safetensors", folder / "weights.safetensors")
    with pytest.raises(ValueError, match="written for another mask"):
        load_finished(folder)


@pytest.mark.parametrize(
    ("kind", "message"), [({"dtype": "bfloat16"}, "made for the weights"), ({"tied": True}, "made for the weights")]
)
def test_a_mask_of_another_model_is_refused(finished, kind, message):
    with pytest.raises(ValueError, match=message):
        load_finished(finished[0]["wanda"]).apply_to(MaskedModel(small_replica(**kind).frozen))


def test_a_mask_with_other_layers_is_refused(finished, random_model, freeze):
    deeper = freeze(random_model("llama", num_hidden_layers=3))
    with pytest.raises(ValueError, match=r"layer 'model\.layers\.2\..*' is in one of the two only"):
        load_finished(finished[0]["wanda"]).apply_to(MaskedModel(deeper))
    wider = freeze(random_model("llama", intermediate_size=64))
    with pytest.raises(ValueError, match=r"proj is \(16, 32\) in the mask|proj is \(32, 16\) in the mask"):
        load_finished(finished[0]["wanda"]).apply_to(MaskedModel(wider))


def test_equal_trials_leave_equal_bytes(finished, replica, make_spec, listener, tmp_path):
    folders, _ = finished
    run_trial(make_spec("sparsegpt"), replica=replica, folder=tmp_path / "again", events=listener())
    for name in ("mask.safetensors", "weights.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (folders["sparsegpt"] / name).read_bytes()


def test_a_mask_knows_what_it_started_from(replica, make_spec, listener, tmp_path):
    result = run_trial(make_spec(initial_mask="wanda"), replica=replica, folder=tmp_path, events=listener())
    assert read_bundle(tmp_path / "mask.safetensors").origin["initial_masks"] == list(result.initial_masks)
    (record,) = result.initial_masks.values()
    assert (record["method"], record["pattern"]) == ("wanda", "2:4")


def test_weights_keep_the_type_of_the_model(make_spec, listener, tmp_path):
    coarse = small_replica(dtype="bfloat16")
    run_trial(make_spec("sparsegpt"), replica=coarse, folder=tmp_path, events=listener())
    weights = load_finished(tmp_path).weights
    assert all(weight.dtype == torch.bfloat16 for weight in weights.values())

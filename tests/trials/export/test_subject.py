"""What can be evaluated and exported: trials, masks and checkpoints, each on exactly the model it belongs to."""

import random
import shutil

import pytest
import torch

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.export.subject import Base, read_masks
from nmlab.trials.files.checked_json import write_checked
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.models.finished import load_finished
from nmlab.trials.trial.artifacts import read_record


def _expected(folder, frozen):
    finished = load_finished(folder)
    weights = finished.weights or {at.name: frozen.module.get_submodule(at.name).weight for at in frozen.layers}
    return {name: weights[name] * mask for name, mask in finished.masks.items()}


@pytest.mark.parametrize("doubled", [False, True])
@pytest.mark.parametrize("what", ["folder", "file", "file alone"])
def test_a_trial_and_its_mask_give_the_same_model(finished_trial, opened, tmp_path, doubled, what):
    folder = finished_trial(doubled=doubled)
    if what == "file alone":
        for path in folder.glob("*.safetensors"):
            shutil.copy(path, tmp_path)
    place = {"folder": folder, "file": folder / "mask.safetensors", "file alone": tmp_path / "mask.safetensors"}[what]
    subject = opened(place)
    assert subject.kind == ("mask" if what == "file alone" else "trial")
    assert (subject.spec is None) == (what == "file alone")
    for name, weight in _expected(folder, subject.model.frozen).items():
        assert torch.equal(subject.weights()[name], weight)
    assert subject.sparsity().pattern == Pattern(2, 4)
    assert read_masks(str(place), base=Base())[1] == Pattern(2, 4)


def test_a_mask_knows_the_type_of_the_model_it_was_made_on(finished_trial, opened, tmp_path):
    shutil.copy(finished_trial(dtype="bfloat16") / "mask.safetensors", tmp_path)
    assert opened(tmp_path).model.frozen.source.dtype == "bfloat16"
    with pytest.raises(ValueError, match="the mask was made for the weights"):
        opened(tmp_path, dtype="float32")


def test_a_checkpoint_is_taken_as_it_is(checkpoint, opened):
    subject = opened(checkpoint("opt"))
    assert (subject.kind, subject.finished, subject.sparsity().pattern) == ("checkpoint", None, None)
    assert len(subject.sparsity().others) == len(subject.model.frozen.layers)
    with pytest.raises(SourceError, match="--model is for masks"):
        opened(checkpoint("opt"), source="builtin:tiny")


def test_a_mask_is_refused_by_other_models(finished_trial, opened, checkpoint):
    folder = finished_trial()
    with pytest.raises(SourceError, match="the trial ran on the weights"):
        opened(folder, source=str(checkpoint("llama", initializer_range=0.1)))
    with pytest.raises(ValueError, match="is in one of the two only"):
        opened(_alone(folder), source=str(checkpoint("opt")))
    with pytest.raises(ValueError, match="the mask was made for the weights"):
        opened(_alone(folder), source=str(checkpoint("llama", initializer_range=0.1)))


def _alone(folder):
    place = folder.parent / f"{folder.name}-alone"
    place.mkdir(exist_ok=True)
    shutil.copy(folder / "mask.safetensors", place)
    return place


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"spec": {"method": "x"}, "model_digest": "y"}'])
def test_a_damaged_record_is_reported(finished_trial, opened, text):
    folder = finished_trial()
    (folder / "trial.json").write_text(text)
    with pytest.raises(SourceError, match=r"trial\.json is (no record of a trial|damaged)"):
        opened(folder)


def test_a_trial_that_lost_its_mask_is_reported(finished_trial, opened):
    folder = finished_trial()
    (folder / "mask.safetensors").unlink()
    with pytest.raises(ValueError, match=r"mask\.safetensors"):
        opened(folder)


@pytest.mark.parametrize("name", ["mask.safetensors", "weights.safetensors"])
def test_no_damage_to_a_trials_files_is_accepted_as_another_model(finished_trial, name):
    folder = finished_trial(doubled=True)
    expected, whole = load_finished(folder), (folder / name).read_bytes()
    draw, refused = random.Random(0), 0
    for _ in range(200):
        spoilt, at = bytearray(whole), draw.randrange(len(whole))
        if draw.random() < 0.2:
            del spoilt[at : at + draw.choice([1, 8, len(whole)])]
        else:
            spoilt[at] ^= 1 << draw.randrange(8)
        (folder / name).write_bytes(spoilt)
        try:
            found = load_finished(folder)
        except ValueError:
            refused += 1
            continue
        assert all(torch.equal(found.masks[at], mask) for at, mask in expected.masks.items())
        assert all(torch.equal(found.weights[at], weight) for at, weight in expected.weights.items())
    assert refused > 180


def test_the_dense_trial_has_no_mask(finished_trial, opened):
    folder = finished_trial()
    (folder / "mask.safetensors").unlink()
    record = read_record(folder / "trial.json")
    write_checked(folder / "trial.json", {**record, "spec": {**record["spec"], "method": "dense"}}, format=1)
    subject = opened(folder)
    assert (subject.kind, subject.finished) == ("trial", None)
    with pytest.raises(SourceError, match="follows no N:M pattern"):
        subject.masks()


def test_what_is_nothing_of_all_this_is_told(opened, tmp_path):
    (tmp_path / "text.txt").write_text("no mask")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        opened(tmp_path / "text.txt")
    with pytest.raises(SourceError, match="does not exist"):
        opened(tmp_path / "none")
    assert FrozenModel.load(ModelSource(source="builtin:tiny")).digest == opened("builtin:tiny").model.frozen.digest

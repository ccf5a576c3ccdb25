"""Whatever happens to the files of a trial: they are read as they were, or refused in one line that names the file."""

import pytest
import torch
from damage import check_damage, flips, truncations

from nmlab.trials.data import disk_cache as disk_cache
from nmlab.trials.files.checked_json import NewerFormatError, read_checked, write_checked
from nmlab.trials.masks.bundle import BundleInfo, load_bundle, save_bundle
from nmlab.trials.masks.weights import load_weights, save_weights
from nmlab.trials.trial.artifacts import read_record
from nmlab.trials.trial.checkpoint import CheckpointFolder

KEY = "00112233445566ff"
TENSORS = {"logits": torch.arange(8.0).view(2, 4), "tracker": torch.tensor([0.1], dtype=torch.float64)}
MASKS = {"block.a": torch.tensor([[1, 0, 1, 0], [0, 1, 1, 0]], dtype=torch.bool)}
INFO = BundleInfo("model", "digest", "2:4", "wanda", KEY)


def test_a_checkpoint_is_set_aside_and_named(tmp_path):
    """A damaged one is never read as another state: what is taken instead is the one before it."""
    folder = tmp_path / "trial"
    CheckpointFolder(folder, key=KEY).save(5, tensors=TENSORS, values={"cost": 1})
    whole = (folder / "checkpoint-000000005.safetensors").read_bytes()
    damages = [*truncations(whole, every=5), *flips(whole)]
    for name, damaged in damages:
        checkpoints = CheckpointFolder(folder, key=KEY)
        checkpoints.save(3, tensors=TENSORS, values={"cost": 0})
        (folder / "checkpoint-000000005.safetensors").write_bytes(damaged)
        found = checkpoints.newest()
        assert (found.step, found.values) == (3, {"cost": 0}), name
        (said,) = checkpoints.damaged
        assert said.startswith("checkpoint-000000005.safetensors is damaged ("), name
        assert "\n" not in said


def test_a_checkpoint_of_a_newer_version_is_refused(tmp_path, monkeypatch):
    from nmlab.trials.trial import checkpoint

    folder = CheckpointFolder(tmp_path / "trial", key=KEY)
    monkeypatch.setattr(checkpoint, "FORMAT", 8)
    folder.save(5, tensors=TENSORS, values={})
    monkeypatch.undo()
    with pytest.raises(NewerFormatError, match=r"checkpoint-000000005\.safetensors has format 8"):
        folder.newest()


def test_a_mask(tmp_path):
    path = tmp_path / "mask.safetensors"
    save_bundle(path, MASKS, info=INFO, origin={"cost": {"tokens": 3}})

    def same(found):
        masks, info = found
        return info == INFO and torch.equal(masks["block.a"], MASKS["block.a"])

    check_damage(path, read=lambda: load_bundle(path), same=same, every=5)


def test_weights(tmp_path):
    path, weights = tmp_path / "weights.safetensors", {"block.a": torch.rand(2, 4) * MASKS["block.a"]}
    save_weights(path, weights, masks=MASKS, info=INFO)
    check_damage(
        path,
        read=lambda: load_weights(path, masks=MASKS, info=INFO),
        same=lambda found: torch.equal(found["block.a"], weights["block.a"]),
        every=5,
    )


def test_the_record_of_a_trial(tmp_path):
    path, record = tmp_path / "trial.json", {"key": KEY, "spec": {"seed": 3}, "metrics": {"eval/perplexity": 12.5}}
    write_checked(path, record, format=1)
    check_damage(path, read=lambda: read_record(path), same=lambda found: found == record)


def test_a_record_of_the_first_version_is_read(tmp_path):
    (tmp_path / "trial.json").write_text('{"key": "aa", "model_digest": "b", "spec": {}}')
    assert read_record(tmp_path / "trial.json") == {"key": "aa", "model_digest": "b", "spec": {}}


def test_the_cache_counts_as_empty(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = disk_cache.get_or_compute("docs", state="1", compute=lambda: ["some", "text"])
    (path,) = tmp_path.rglob("*.json")
    whole = path.read_bytes()
    for name, damaged in [*truncations(whole), *flips(whole)]:
        path.write_bytes(damaged)
        assert disk_cache.get_or_compute("docs", state="1", compute=lambda: ["some", "text"]) == text, name
        assert read_checked(path, kind="cache", format=1, before=())["value"] == text, name

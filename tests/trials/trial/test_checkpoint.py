"""Checkpoints: complete or absent, the newest first, and never another trial's."""

import random

import pytest
import torch

from nmlab.trials.contract.errors import CheckpointError
from nmlab.trials.trial.checkpoint import CheckpointFolder

KEY = "00112233445566ff"
TENSORS = {
    "logits": torch.randn(7, 4, generator=torch.Generator().manual_seed(0)),
    "tracker": torch.tensor([0.1, 3.0], dtype=torch.float64),
    "bits": torch.tensor([1, 255], dtype=torch.uint8),
    "transposed": torch.arange(6.0).view(2, 3).t(),
    "nothing": torch.zeros(0, dtype=torch.float64),
}
VALUES = {"history": {"0": {"eval/perplexity": 12.5, "bad": float("inf")}}, "cost": {"forwards": 3}}


@pytest.fixture
def folder(tmp_path):
    return CheckpointFolder(tmp_path / "trial", key=KEY)


def test_what_is_saved_is_read_back(folder):
    folder.save(12, tensors=TENSORS, values=VALUES)
    read = folder.newest()
    assert (read.step, read.values) == (12, VALUES)
    assert read.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert read.tensors[name].dtype == tensor.dtype
        assert torch.equal(read.tensors[name], tensor)


def test_a_folder_without_checkpoints_has_none(folder, tmp_path):
    assert folder.newest() is None
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "trial.json").write_text("{}")
    assert folder.newest() is None


def test_the_newest_two_are_kept_and_the_newest_is_read(folder, tmp_path):
    for step in (9, 10, 100, 99):
        folder.save(step, tensors=TENSORS, values={"step": step})
    assert [path.name for path in sorted((tmp_path / "trial").iterdir())] == [
        "checkpoint-000000099.safetensors",
        "checkpoint-000000100.safetensors",
    ]
    assert folder.newest().step == folder.newest().values["step"] == 100


def test_a_checkpoint_of_one_step_can_be_replaced(folder):
    folder.save(5, tensors=TENSORS, values={"try": 1})
    folder.save(5, tensors=TENSORS, values={"try": 2})
    assert folder.newest().values == {"try": 2}


def test_a_save_that_fails_leaves_what_was_there(folder, tmp_path):
    folder.save(5, tensors=TENSORS, values=VALUES)
    with pytest.raises(TypeError):
        folder.save(6, tensors=TENSORS, values={"not JSON": object()})
    assert len(list((tmp_path / "trial").iterdir())) == 1
    assert folder.newest().step == 5


def test_a_file_that_was_being_written_is_not_read(folder, tmp_path):
    folder.save(5, tensors=TENSORS, values=VALUES)
    half = tmp_path / "trial" / "checkpoint-000000006.123.partial"
    half.write_bytes(b"half")
    assert folder.newest().step == 5
    assert not half.exists()


@pytest.mark.parametrize("damage", ["empty", "cut", "garbage", "no header", "header cut", "one bit"])
def test_a_damaged_checkpoint_is_passed_over_and_kept_aside(folder, damage):
    folder.save(5, tensors=TENSORS, values=VALUES)
    path = folder.save(6, tensors=TENSORS, values=VALUES)
    whole = path.read_bytes()
    spoilt = {
        "empty": b"",
        "cut": whole[:-1],
        "garbage": b"\xff" * 200,
        "no header": whole[8:],
        "header cut": whole[:40],
        "one bit": whole[:-1] + bytes([whole[-1] ^ 1]),
    }
    path.write_bytes(spoilt[damage])
    assert folder.newest().step == 5
    assert not path.exists()
    assert path.with_suffix(".damaged").exists()
    assert folder.newest().step == 5


def test_reading_the_checkpoints_of_another_process_changes_nothing(folder, tmp_path):
    """A partial file may be one that it is writing, and a file that cannot be read may have been removed since."""
    followed = CheckpointFolder(tmp_path / "trial", key=KEY, read_only=True)
    assert followed.newest() is None
    folder.save(5, tensors=TENSORS, values=VALUES)
    folder.save(6, tensors=TENSORS, values=VALUES).write_bytes(b"")
    (tmp_path / "trial" / "checkpoint-000000007.123.partial").write_bytes(b"half")
    before = sorted(tmp_path.glob("trial/*"))
    assert followed.newest().step == 5
    assert sorted(tmp_path.glob("trial/*")) == before
    assert len(before) == 3


def test_a_checkpoint_that_another_process_removes_meanwhile_is_skipped(folder, tmp_path, monkeypatch):
    followed = CheckpointFolder(tmp_path / "trial", key=KEY, read_only=True)
    folder.save(5, tensors=TENSORS, values=VALUES)
    dropped = tmp_path / "trial" / "checkpoint-000000006.safetensors"
    monkeypatch.setattr(CheckpointFolder, "_paths", lambda self: [*sorted(self._folder.glob("*.safetensors")), dropped])
    assert followed.newest().step == 5


def test_when_all_are_damaged_there_is_none(folder):
    for step in (5, 6):
        folder.save(step, tensors=TENSORS, values=VALUES).write_bytes(b"")
    assert folder.newest() is None
    folder.save(7, tensors=TENSORS, values=VALUES)
    assert folder.newest().step == 7


def test_the_checkpoint_of_another_trial_is_refused(folder, tmp_path):
    folder.save(5, tensors=TENSORS, values=VALUES)
    other = CheckpointFolder(tmp_path / "trial", key="another")
    with pytest.raises(CheckpointError, match=f"belongs to trial {KEY}, not to another"):
        other.newest()
    assert folder.newest().step == 5


def test_every_damage_to_the_header_is_skipped_or_refused(folder):
    path = folder.save(5, tensors=TENSORS, values=VALUES)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    draw = random.Random(0)
    for _ in range(300):
        spoilt = bytearray(whole)
        spoilt[draw.randrange(header)] = draw.randrange(256)
        path.write_bytes(spoilt)
        try:
            read = folder.newest()
        except CheckpointError:
            continue
        assert read is None or isinstance(read.step, int)

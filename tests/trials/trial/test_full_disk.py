"""A trial on a disk that is full for a while: it learns on without checkpoints, and waits with its artifacts."""

import errno

from nmlab.trials.files import disk
from nmlab.trials.trial import loop
from nmlab.trials.trial.checkpoint import CheckpointFolder
from nmlab.trials.trial.run import run_trial


def full():
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_trial_learns_on_and_waits_with_its_artifacts(replica, make_spec, listener, tmp_path, monkeypatch):
    spec = make_spec("maskpro", steps=12, cadence={"log_every": 1, "checkpoint_every": 4})
    one, other = listener(), listener()
    run_trial(spec, replica=replica, folder=tmp_path / "one", events=one)
    save, write, tries = CheckpointFolder.save, loop.write_artifacts, []

    def save_later(self, step, **content):
        return full() if step == 4 else save(self, step, **content)

    def write_at_the_third_try(folder, finished):
        tries.append(folder)
        return full() if len(tries) < 3 else write(folder, finished)

    monkeypatch.setattr(disk, "_LOOK_AGAIN_S", 0.01)
    monkeypatch.setattr(CheckpointFolder, "save", save_later)
    monkeypatch.setattr(loop, "write_artifacts", write_at_the_third_try)
    result = run_trial(spec, replica=replica, folder=tmp_path / "other", events=other)
    assert result.status == "finished"
    assert "no checkpoint after step 4: the disk was full" in result.notes
    assert len(tries) == 3
    assert other.curve() == one.curve()
    masks = [(tmp_path / name / "mask.safetensors").read_bytes() for name in ("one", "other")]
    assert masks[0] == masks[1]


def test_a_cancelled_trial_does_not_wait_for_room(replica, make_spec, listener, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "write_artifacts", lambda folder, finished: full())
    spec = make_spec("maskpro", steps=4, cadence={"log_every": 1, "checkpoint_every": 4})
    result = run_trial(spec, replica=replica, folder=tmp_path, events=listener(cancel_at=4))
    assert result.status == "stopped"

"""A trial that was interrupted, at any step and in any way, ends with the result of one that was not."""

import numpy as np
import pytest
import torch

from nmlab.trials.contract.errors import CheckpointError
from nmlab.trials.masks.bundle import load_bundle
from nmlab.trials.trial.checkpoint import CheckpointFolder
from nmlab.trials.trial.run import run_trial

START = 4  # forwards of the initial mask on the four minibatches, which every trial is charged
CADENCE = {"log_every": 4, "evaluate_every": 6, "checkpoint_every": 5}


@pytest.fixture(scope="module")
def spec(make_spec):
    return make_spec(steps=22, learning_rate=20.0, cadence=CADENCE)


def _run(spec, *, replica, folder, events):
    try:
        return run_trial(spec, replica=replica, folder=folder, events=events), events
    except KeyboardInterrupt:
        return None, events


@pytest.fixture
def run(replica, tmp_path, listener):
    """Run a trial in a folder; returns its result and its events."""

    def go(spec, *, folder="trial", **behaviour):
        return _run(spec, replica=replica, folder=tmp_path / folder, events=listener(**behaviour))

    return go


@pytest.fixture(scope="module")
def undisturbed_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("undisturbed")


@pytest.fixture(scope="module")
def undisturbed(spec, replica, undisturbed_folder, listener):
    """Return the result and the events of the trial without an interruption."""
    return _run(spec, replica=replica, folder=undisturbed_folder, events=listener())


def _assert_same_end(one, other):
    for name in ("evaluation.npz", "steps.npz"):
        with np.load(one / name) as a, np.load(other / name) as b:
            assert set(a.files) == set(b.files)
            assert all(np.array_equal(a[key], b[key]) for key in a.files)
    masks, info = load_bundle(one / "mask.safetensors")
    other_masks, other_info = load_bundle(other / "mask.safetensors")
    assert info == other_info
    assert all((masks[name] == other_masks[name]).all() for name in masks)


@pytest.mark.parametrize("step", [0, 4, 6, 20])
def test_a_cancelled_trial_saves_and_goes_on(run, spec, undisturbed, undisturbed_folder, tmp_path, step):
    stopped, before = run(spec, cancel_at=step)
    assert (stopped.status, stopped.step) == ("stopped", step)
    assert stopped.reason
    assert not (tmp_path / "trial" / "trial.json").exists()
    resumed, after = run(spec)
    assert (resumed.status, resumed.step) == ("finished", 22)
    whole = undisturbed[1].curve()
    assert after.curve() == whole
    assert before.curve() == {at: values for at, values in whole.items() if at <= step}
    assert [at for at, _ in after.points] == sorted(at for at, _ in after.points)
    _assert_same_end(tmp_path / "trial", undisturbed_folder)


@pytest.mark.parametrize("step", [0, 4, 8, 22])
def test_a_killed_trial_goes_on_from_its_newest_checkpoint(run, spec, undisturbed, undisturbed_folder, tmp_path, step):
    dead, before = run(spec, crash_at=step)
    assert dead is None
    resumed, after = run(spec)
    assert resumed.status == "finished"
    assert after.curve() == undisturbed[1].curve()
    assert all(after.curve()[at].items() >= values.items() for at, values in before.curve().items())
    _assert_same_end(tmp_path / "trial", undisturbed_folder)


def test_a_trial_that_is_killed_repeatedly_still_finishes(run, spec, undisturbed, undisturbed_folder, tmp_path):
    for step in (4, 8, 12, 16, 20):
        run(spec, crash_at=step)
    resumed, after = run(spec)
    assert after.curve() == undisturbed[1].curve()
    assert resumed.metrics["cost/forwards"] == START + 22
    _assert_same_end(tmp_path / "trial", undisturbed_folder)


def test_a_finished_trial_repeats_its_points_without_learning_again(run, spec, tmp_path):
    first, events = run(spec)
    checkpoints = CheckpointFolder(tmp_path / "trial", key=spec.key)
    before, (second, again), after = checkpoints.newest(), run(spec), checkpoints.newest()
    assert again.curve() == events.curve()
    assert (before.step, before.values) == (after.step, after.values)
    assert all(torch.equal(tensor, after.tensors[name]) for name, tensor in before.tensors.items())
    assert (second.status, second.step, second.artifacts) == (first.status, first.step, first.artifacts)
    # The account is that of the run that learned: had it learned again, these times would differ.
    for name in ("cost/forwards", "cost/seconds", "time/forward_s", "time/step_s"):
        assert second.metrics[name] == first.metrics[name]


def test_a_budget_that_ended_a_trial_still_holds_when_it_is_run_again(run, make_spec):
    spec = make_spec(steps=100, budget={"forwards": START + 7}, cadence=CADENCE)
    _, first = run(spec)
    again, events = run(spec)
    assert (again.status, again.step) == ("finished", 7)
    assert events.curve() == first.curve()


def test_a_damaged_checkpoint_is_passed_over(run, spec, undisturbed, tmp_path):
    run(spec, crash_at=12)
    *_, newest = sorted((tmp_path / "trial").glob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[:-7])
    _, after = run(spec)
    assert after.curve() == undisturbed[1].curve()
    assert newest.with_suffix(".damaged").exists()


def test_the_checkpoint_of_another_trial_is_refused(run, make_spec, spec):
    run(spec, cancel_at=8)
    other = make_spec(steps=22, learning_rate=20.0, seed=1, cadence=CADENCE)
    with pytest.raises(CheckpointError, match=f"belongs to trial {spec.key}, not to {other.key}"):
        run(other)


def test_intervals_of_logging_and_checkpoints_change_no_result(
    run, make_spec, undisturbed, undisturbed_folder, tmp_path
):
    quiet = make_spec(steps=22, learning_rate=20.0)
    result, _ = run(quiet)
    assert result.key == undisturbed[0].key
    assert result.metrics["eval/perplexity"] == undisturbed[0].metrics["eval/perplexity"]
    _assert_same_end(tmp_path / "trial", undisturbed_folder)


def test_seeds_are_different_trials(run, make_spec, undisturbed):
    other = make_spec(steps=22, learning_rate=20.0, seed=1, cadence=CADENCE)
    result, events = run(other, folder="other")
    assert result.key != undisturbed[0].key
    assert events.curve()[4]["train/loss"] != undisturbed[1].curve()[4]["train/loss"]
    assert events.curve()[0] == undisturbed[1].curve()[0]  # both begin with one mask

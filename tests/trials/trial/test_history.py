"""Curves: a point is the mean since the previous point, and depends on the recorded steps alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmlab.trials.trial.history import History


def _record(history, losses):
    for loss in losses:
        history.append({"train/loss": loss, "train/twice": 2 * loss})


def _history(losses, *, steps, log_every=None):
    history = History(steps=steps, log_every=log_every)
    _record(history, losses)
    return history


def test_a_point_is_the_mean_since_the_point_before():
    history = _history([1.0, 2.0, 6.0, 4.0, 5.0], steps=5, log_every=3)
    assert dict(history.points()) == {
        3: {"train/loss": 3.0, "train/twice": 6.0},
        5: {"train/loss": 4.5, "train/twice": 9.0},  # the last point has what is left
    }
    assert history.length == 5


@pytest.mark.parametrize(("steps", "every"), [(1, 1), (199, 1), (200, 1), (399, 1), (400, 2), (10_000, 50)])
def test_about_two_hundred_points_by_default(steps, every):
    history = History(steps=steps, log_every=None)
    assert history.log_every == every
    assert sum(history.is_point(step) for step in range(1, steps + 1)) <= 400


def test_noted_values_stand_at_their_step_whether_or_not_it_is_a_point():
    history = _history([1.0] * 6, steps=6, log_every=4)
    history.note(0, {"eval/perplexity": 9.0})
    history.note(3, {"eval/perplexity": 8.0})
    history.note(4, {"eval/perplexity": 7.0})
    history.note(4, {"train/mask_change": 0.5})
    assert history.point(0) == {"eval/perplexity": 9.0}
    assert history.point(3) == {"eval/perplexity": 8.0}
    assert history.point(4) == {"train/loss": 1.0, "train/twice": 2.0, "eval/perplexity": 7.0, "train/mask_change": 0.5}
    assert [step for step, _ in history.points()] == [0, 3, 4, 6]


@given(
    losses=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30),
    cut=st.integers(0, 30),
    log_every=st.integers(1, 7),
    noted=st.dictionaries(st.integers(0, 30), st.floats(-10, 10), max_size=5),
)
def test_a_restored_history_gives_the_same_points(losses, cut, log_every, noted):
    whole = _history(losses, steps=len(losses), log_every=log_every)
    first = _history(losses[:cut], steps=len(losses), log_every=log_every)
    for step, value in noted.items():
        whole.note(step, {"eval/perplexity": value})
        first.note(step, {"eval/perplexity": value})
    second = History(steps=len(losses), log_every=log_every)
    second.restore({**first.tensors(), "logits": np.zeros(3)}, first.values())
    _record(second, losses[cut:])
    assert list(second.points()) == list(whole.points())


def test_every_step_is_saved(tmp_path):
    _history([1.0, 2.5], steps=100).save(tmp_path / "steps.npz")
    with np.load(tmp_path / "steps.npz") as arrays:
        assert {name: arrays[name].tolist() for name in arrays.files} == {
            "train_loss": [1.0, 2.5],
            "train_twice": [2.0, 5.0],
        }


def test_a_history_without_steps_has_no_points():
    assert list(History(steps=0, log_every=None).points()) == []
    assert History(steps=0, log_every=None).length == 0

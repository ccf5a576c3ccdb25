"""The scalars of a MaskPro step: the tracker, the weights of the scores, and what the official order amounts to."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmlab.trials.methods import registry
from nmlab.trials.methods.maskpro import MaskProConfig
from nmlab.trials.methods.maskpro.maths import ResidualTracker, score_weights

residual_lists = st.lists(st.floats(-5, 5), min_size=1, max_size=12)
alphas = st.sampled_from([0.0, 0.5, 0.7, 0.99])


def _config(**changes) -> MaskProConfig:
    return MaskProConfig(**changes)


def _weights(losses, *, initial=0.0, tracker, config):
    return score_weights(losses, [initial] * len(losses), tracker=tracker, config=config)


def _walk(residuals, config):
    """The weight of the score at each step when the steps have these residuals."""
    tracker, weights = ResidualTracker(config.alpha), []
    for residual in residuals:
        (weight,), tracker = _weights([2.0 + residual], initial=2.0, tracker=tracker, config=config)
        weights.append(weight)
    return weights, tracker


@given(residuals=residual_lists, alpha=alphas)
def test_the_tracker_is_the_exponential_average(residuals, alpha):
    tracker = ResidualTracker(alpha)
    for residual in residuals:
        tracker = tracker.updated(residual)
    ages = range(len(residuals) - 1, -1, -1)
    expected = sum((1 - alpha) * alpha**age * residual for age, residual in zip(ages, residuals, strict=True))
    assert tracker.value == pytest.approx(expected, abs=1e-12)
    assert tracker.updates == len(residuals)


@given(residual=st.floats(-5, 5), count=st.integers(1, 50), alpha=alphas)
def test_the_corrected_tracker_is_right_from_the_first_residual(residual, count, alpha):
    tracker = ResidualTracker(alpha)
    assert tracker.corrected is None
    for _ in range(count):
        tracker = tracker.updated(residual)
    assert tracker.corrected == pytest.approx(residual, abs=1e-12)


@given(residuals=residual_lists, alpha=alphas)
def test_the_paper_uses_the_tracker_before_it_moves(residuals, alpha):
    weights, tracker = _walk(residuals, _config(alpha=alpha, tracker="paper"))
    delta = 0.0
    for residual, weight in zip(residuals, weights, strict=True):
        assert weight == pytest.approx(residual - delta, abs=1e-12)
        delta = alpha * delta + (1 - alpha) * residual
    assert tracker.value == pytest.approx(delta, abs=1e-12)


@given(residuals=residual_lists, alpha=alphas)
def test_the_official_order_is_the_papers_with_a_smaller_step(residuals, alpha):
    """Moved before it is used, the tracker gives r - (alpha delta + (1 - alpha) r) = alpha (r - delta)."""
    official, moved_first = _walk(residuals, _config(alpha=alpha, compat="official"))
    paper, moved_last = _walk(residuals, _config(alpha=alpha, tracker="paper"))
    assert official == pytest.approx([alpha * weight for weight in paper], abs=1e-12)
    assert moved_first == moved_last


@given(residuals=residual_lists)
def test_the_corrected_tracker_moves_nothing_at_first_and_joins_the_papers_later(residuals):
    corrected, _ = _walk([*residuals, *[0.5] * 300, 1.5], _config(alpha=0.9))
    paper, _ = _walk([*residuals, *[0.5] * 300, 1.5], _config(alpha=0.9, tracker="paper"))
    assert corrected[0] == 0.0
    assert corrected[-1] == pytest.approx(paper[-1], abs=1e-9)
    if len(residuals) > 1:
        assert corrected[1] == pytest.approx(residuals[1] - residuals[0], abs=1e-9)


def test_a_constant_shift_of_all_residuals_does_not_reach_the_corrected_weights():
    """Masks that are all worse than m_0 by one amount must not push the logits; with the paper's tracker they do."""
    corrected, _ = _walk([3.0] * 5, _config())
    paper, _ = _walk([3.0] * 5, _config(tracker="paper"))
    assert corrected == pytest.approx([0.0] * 5, abs=1e-12)
    assert min(paper) > 2.5


@pytest.mark.parametrize(
    ("estimator", "expected"), [("vanilla", [3.0, 5.0]), ("residual", [1.0, 3.0]), ("tracked", [0.5, 2.5])]
)
def test_the_estimators(estimator, expected):
    config = _config(estimator=estimator, tracker="paper", alpha=0.5)
    before = ResidualTracker(0.5, value=0.5, updates=1)
    weights, after = _weights([3.0, 5.0], initial=2.0, tracker=before, config=config)
    assert weights == pytest.approx([value / 2 for value in expected])
    assert after == ResidualTracker(0.5, value=0.5 * 0.5 + 0.5 * 2.0, updates=2)


@given(losses=st.lists(st.floats(0, 9), min_size=2, max_size=6), index=st.integers(0, 5))
def test_leaving_one_out_gives_every_mask_a_baseline_of_the_others_only(losses, index):
    """The weights sum to zero, and the baseline of a mask does not move with the mask's own loss."""
    config = _config(tracker="leave_one_out", masks_per_step=len(losses))
    weights, after = _weights(losses, initial=1.0, tracker=ResidualTracker(0.9), config=config)
    index %= len(losses)
    others = [loss for other, loss in enumerate(losses) if other != index]
    expected = (losses[index] - sum(others) / len(others)) / len(losses)
    assert weights[index] == pytest.approx(expected, abs=1e-12)
    assert sum(weights) == pytest.approx(0.0, abs=1e-12)
    assert after.updates == 1


@pytest.mark.parametrize(
    ("estimator", "tracker", "compat"),
    itertools.product(["vanilla", "residual", "tracked"], ["corrected", "paper"], ["none", "official"]),
)
def test_masks_of_one_step_are_averaged(estimator, tracker, compat):
    """K equal losses weigh together what one of them weighs alone, and the tracker follows their mean."""
    config = _config(estimator=estimator, tracker=tracker, compat=compat, alpha=0.9)
    before = ResidualTracker(0.9, value=0.3, updates=4)
    (alone,), after_one = _weights([4.0], initial=1.0, tracker=before, config=config)
    together, after_many = _weights([4.0] * 8, initial=1.0, tracker=before, config=config)
    assert together == pytest.approx([alone / 8] * 8)
    assert after_one == after_many
    _, after_spread = _weights([3.0, 5.0], initial=1.0, tracker=before, config=config)
    assert after_spread == after_one


def test_the_tracked_weights_of_one_step_differ_by_the_losses_alone():
    config = _config(alpha=0.9)
    before = ResidualTracker(0.9, value=0.1, updates=2)
    weights, _ = _weights([3.0, 4.0, 8.0], initial=1.0, tracker=before, config=config)
    assert [weights[1] - weights[0], weights[2] - weights[1]] == pytest.approx([1 / 3, 4 / 3])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alpha": 1.0}, "alpha = 1.0: expected less than 1"),
        ({"alpha": -0.1}, "alpha = -0.1: expected at least 0"),
        ({"alpha": float("nan")}, "alpha = nan"),
        ({"learning_rate": 0}, "learning_rate = 0: expected more than 0"),
        ({"learning_rate": 1e300}, "expected at most 1000000"),
        ({"logit_magnitude": -1}, "logit_magnitude = -1"),
        ({"steps": 0}, "steps = 0"),
        ({"steps": 2.5}, "steps = 2.5: expected a whole number"),
        ({"masks_per_step": 0}, "masks_per_step = 0"),
        (
            {"estimator": "trakced"},
            "estimator = 'trakced': expected vanilla, residual or tracked; did you mean 'tracked'?",
        ),
        ({"sampler": "gumbel"}, "sampler = 'gumbel'"),
        ({"tracker": "leave_one_out"}, "leave_one_out needs masks_per_step of 2 or more"),
        ({"learning_rat": 1.0}, "unknown hyperparameter of maskpro 'learning_rat'; did you mean 'learning_rate'"),
    ],
)
def test_a_wrong_hyperparameter_is_named_in_one_line(wrong, message):
    with pytest.raises(ValueError) as refused:
        registry.get("maskpro").configure(wrong)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)

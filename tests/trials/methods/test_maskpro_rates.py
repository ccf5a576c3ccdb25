"""Learning rates of MaskPro: schedules, the running spread of residuals, and the rule of the walk."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmlab.trials.methods import registry
from nmlab.trials.methods.maskpro import MaskProConfig
from nmlab.trials.methods.maskpro.maths import ResidualSpread, ResidualTracker, residuals_of, variance_of
from nmlab.trials.methods.maskpro.rates import LearningRates, effective_steps, scheduled

MASKPRO = registry.get("maskpro")
SCHEDULES = ("constant", "linear", "cosine")
variances = st.lists(st.floats(0, 9), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("schedule", "middle", "end", "effective"),
    [("constant", 1.0, 1.0, 1.0), ("linear", 0.5, 0.0, 1 / 3), ("cosine", 0.55, 0.1, 0.40375)],
)
def test_schedules(schedule, middle, end, effective):
    assert scheduled(schedule, 0, steps=1000) == 1
    assert scheduled(schedule, 500, steps=1000) == pytest.approx(middle)
    assert scheduled(schedule, 1000, steps=1000) == pytest.approx(end)
    assert effective_steps(schedule, steps=10_000) == pytest.approx(effective * 10_000, rel=1e-3)
    falling = [scheduled(schedule, step, steps=50) for step in range(50)]
    assert falling == sorted(falling, reverse=True)
    assert min(falling) > 0, "every step moves the logits"


@given(variances)
def test_the_spread_is_the_weighted_average_of_variances_without_the_bias_of_its_start(values):
    spread = ResidualSpread()
    assert spread.sigma is None
    for value in values:
        spread = spread.updated(value)
    weights = [0.99**age for age in range(len(values) - 1, -1, -1)]
    expected = sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)
    assert spread.sigma == pytest.approx(math.sqrt(expected), rel=1e-9, abs=1e-9)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8))
def test_the_variance_of_a_step_is_unbiased(residuals):
    assert variance_of(residuals, tracker=ResidualTracker(0.9)) == pytest.approx(np.var(residuals, ddof=1), abs=1e-9)


def test_the_variance_of_one_residual_is_its_distance_to_the_tracker():
    assert variance_of([3.0], tracker=ResidualTracker(0.9)) is None
    tracker = ResidualTracker(0.9).updated(1.0)
    assert variance_of([3.0], tracker=tracker) == pytest.approx(4.0)
    assert residuals_of([3.0, 4.0], [1.0, 1.5]) == [2.0, 2.5]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_learning_rate_follows_its_schedule(schedule):
    rates = LearningRates(MaskProConfig(learning_rate=3.0, learning_rate_schedule=schedule, steps=40))
    assert rates.vary is (schedule != "constant")
    for step in (0, 7, 39):
        assert rates.at(step, masks=5, sigma=None) == 3.0 * scheduled(schedule, step, steps=40)


def _walk_rates(*, rho=0.2, magnitude=4.0, schedule="linear", steps=300, resampled=0.05):
    config = MaskProConfig(
        walk_rate=rho, logit_magnitude=magnitude, learning_rate_schedule=schedule, steps=steps, mask_per="sequence"
    )
    return LearningRates(config, resampled, effective_steps(schedule, steps=steps))


def test_the_rule_of_the_walk():
    """eta = rho C sqrt(K / (T_eff P)) / sigma, times the share of the schedule."""
    rates = _walk_rates(steps=3000)
    expected = 0.2 * 4.0 * math.sqrt(16 / (1000 * 0.05)) / 0.1
    assert rates.at(0, masks=16, sigma=0.1) == pytest.approx(expected, rel=1e-3)
    assert rates.at(1500, masks=16, sigma=0.1) == pytest.approx(expected / 2, rel=1e-3)
    assert rates.vary


@pytest.mark.parametrize("sigma", [None, 0.0])
def test_without_a_spread_no_logit_moves(sigma):
    assert _walk_rates().at(3, masks=16, sigma=sigma) == 0.0
    assert _walk_rates(resampled=0.0).at(3, masks=16, sigma=1.0) == 0.0


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("masks", "resampled", "sigma"), [(1, 0.3, 0.02), (16, 0.05, 1.5)])
def test_noise_alone_walks_as_far_as_asked(schedule, masks, resampled, sigma):
    """Simulated: residuals of pure noise, a score of size one in the masks that deviate; to 5 % with 4000 groups."""
    rates, rng = _walk_rates(schedule=schedule, resampled=resampled), np.random.default_rng(0)
    logit_G = np.zeros(4000)
    for step in range(300):
        deviates_KG = rng.random((masks, len(logit_G))) < resampled
        # Every group has residuals of its own here, so that groups are independent samples of the walk.
        noise_KG = rng.normal(0.0, sigma, (masks, len(logit_G)))
        logit_G -= rates.at(step, masks=masks, sigma=sigma) * (noise_KG * deviates_KG).mean(axis=0)
    assert statistics.pstdev(logit_G) == pytest.approx(0.2 * 4.0, rel=0.05)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"walk_rate": 0.2, "learning_rate": 2.0}, "learning_rate = 2 and walk_rate = 0.2: expected one of them"),
        ({"walk_rate": 0.2, "learning_rate": 50.0}, "learning_rate = 50 and walk_rate = 0.2: expected one of them"),
        ({"learning_rate": None}, "learning_rate = null: expected a number, or a walk_rate"),
        ({"walk_rate": 0}, "walk_rate = 0: expected more than 0"),
        ({"learning_rate_schedule": "cosin"}, "learning_rate_schedule = 'cosin'"),
        ({"rho": 0.1}, "unknown hyperparameter of maskpro 'rho'; here it is called walk_rate"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(given_, message):
    with pytest.raises(ValueError) as refused:
        MASKPRO.configure(given_)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_walk_rate_stands_in_place_of_the_learning_rate():
    config = MASKPRO.configure({"walk_rate": 0.2})
    assert (config.learning_rate, config.walk_rate) == (None, 0.2)
    assert MASKPRO.configure(config.model_dump()) == config
    assert (MASKPRO.configure({}).learning_rate, MASKPRO.configure({}).walk_rate) == (50.0, None)


@pytest.mark.parametrize("masks", [1, 3])
def test_a_run_uses_the_spread_of_the_steps_before(make_context, masks):
    """So that the rate of a step does not depend on its own masks; the first steps, without one, move nothing."""
    settings = {"steps": 9, "logit_magnitude": 3.0, "walk_rate": 0.3, "masks_per_step": masks, "tracker": "corrected"}
    run, spread = MASKPRO.start(make_context(), MASKPRO.configure(settings)), ResidualSpread()
    still = 2 if masks == 1 else 1
    for step in range(6):
        before, tracker = run._engine.logits(), run._tracker
        seen: list[float] = []
        run._evaluators.losses = _recorded(run._evaluators.losses, seen)
        rate = run.step(step)["train/learning_rate"]
        moved = float((run._engine.logits() - before).abs().max())
        if step < still:
            assert rate == moved == 0
        else:
            length = 0.3 * 3.0 * math.sqrt(masks / (9 * run._rates.resampled))
            assert rate == pytest.approx(length / spread.sigma, rel=1e-9)
            assert moved > 0
        residuals = [loss - run._initial_losses[step % 4][0] for loss in seen[-masks:]]
        if (variance := variance_of(residuals, tracker=tracker)) is not None:
            spread = spread.updated(variance)


def _recorded(losses, seen):
    def record(*given_, **named):
        found = losses(*given_, **named)
        seen.extend(found)
        return found

    return record


def test_a_constant_rate_is_not_recorded(make_context):
    """Runs of the paper's form record what they always have."""
    for changes, is_recorded in (({}, False), ({"learning_rate_schedule": "linear"}, True)):
        run = MASKPRO.start(make_context(), MASKPRO.configure({"steps": 3, "logit_magnitude": 3.0, **changes}))
        assert ("train/learning_rate" in run.step(0)) is is_recorded

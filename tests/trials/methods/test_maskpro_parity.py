"""`compat: official` repeats the authors' training run: 24 steps on two layers, with their recorded masks."""

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import Draw, GroupLayout, LinearEngine, MaskKey, initial_store
from nmlab.trials.masks.plackett_luce import official_score
from nmlab.trials.methods.maskpro import MaskProConfig
from nmlab.trials.methods.maskpro.maths import ResidualTracker, score_weights
from nmlab.trials.models import PrunableLayer

STEPS, C, RATE = 24, 3.0, 20.0
LAYERS = [PrunableLayer("first", 0, 12, 16), PrunableLayer("second", 1, 8, 12)]
LAYOUT = GroupLayout(LAYERS, pattern=Pattern(2, 4))


@pytest.fixture(scope="module")
def trace(load_parity):
    return load_parity("maskpro/trace24_seed0")


def _masks(trace, step):
    return {"first": trace["masks0"][step].bool(), "second": trace["masks1"][step].bool()}


def _draw(masks, engine):
    """Recorded masks as the engine would have drawn them."""
    mask_GM = LAYOUT.join(masks)
    other_g = (mask_GM != engine.mode()).any(1).nonzero().squeeze(1)
    return Draw(MaskKey(0, 0), other_g, mask_GM[other_g])


def _loss(trace, masks, batch):
    """Mean squared distance from the dense outputs of y = W1 tanh(W0 x), in float64 as recorded."""
    hidden = torch.tanh(trace["X"][batch] @ (trace["W0"] * masks["first"]).T)
    outputs = hidden @ (trace["W1"] * masks["second"]).T
    return float((outputs - trace["Y"][batch]).square().mean())


def _replay(trace, *, config, score_of):
    """Yield losses, trackers and logits of a run that sees the recorded masks."""
    initial = LAYOUT.join({"first": trace["m0_0"], "second": trace["m0_1"]})
    engine = LinearEngine(LAYOUT, store=initial_store(LAYOUT, initial.bool(), magnitude=C), score=score_of)
    tracker = ResidualTracker(config.alpha)
    for step in range(STEPS):
        masks, batch = _masks(trace, step), int(trace["batch"][step])
        loss = _loss(trace, masks, batch)
        (weight,), tracker = score_weights([loss], [float(trace["vanilla"][batch])], tracker=tracker, config=config)
        engine.descend([_draw(masks, engine)], weights=[weight], rate=config.learning_rate)
        yield loss, tracker.value, engine


def _official():
    return MaskProConfig(alpha=0.99, learning_rate=RATE, logit_magnitude=C, compat="official")


def test_every_step_of_the_official_run(trace):
    replay = _replay(trace, config=_official(), score_of=official_score)
    for step, (loss, delta, engine) in enumerate(replay):
        assert loss == pytest.approx(float(trace["loss"][step]), abs=5e-9)
        assert delta == pytest.approx(float(trace["delta"][step]), abs=1e-10)
        logits = LAYOUT.split(engine.logits())
        torch.testing.assert_close(logits["first"], trace["logits0"][step], rtol=0, atol=1.1e-6)
        torch.testing.assert_close(logits["second"], trace["logits1"][step], rtol=0, atol=1.1e-6)


def test_the_official_masks(trace):
    *_, (_, _, engine) = _replay(trace, config=_official(), score_of=official_score)
    final = LAYOUT.split(engine.mode())
    assert torch.equal(final["first"], trace["final0"].bool())
    assert torch.equal(final["second"], trace["final1"].bool())
    # The recorded run was too short to turn a mask, but its logits did move.
    assert (LAYOUT.split(engine.logits())["first"] - C * trace["m0_0"]).abs().max() > 0.5


def test_the_first_official_forward_sees_the_initial_mask(trace):
    assert torch.equal(trace["masks0"][0], trace["m0_0"])
    loss, delta, engine = next(_replay(trace, config=_official(), score_of=official_score))
    assert loss == pytest.approx(float(trace["vanilla"][0]), abs=1e-8)
    assert abs(delta) < 1e-10
    assert torch.allclose(engine.logits().abs().amax(1), torch.tensor(C))


def test_algorithm_1_with_a_smaller_step_is_the_same_run(trace):
    """The official order is Algorithm 1 with alpha times eta."""
    paper = MaskProConfig(alpha=0.99, learning_rate=0.99 * RATE, logit_magnitude=C, tracker="paper")
    for step, (_, _, engine) in enumerate(_replay(trace, config=paper, score_of=official_score)):
        torch.testing.assert_close(LAYOUT.split(engine.logits())["first"], trace["logits0"][step], rtol=0, atol=3e-6)


def test_the_exact_score_gives_this_run_too(trace):
    """Its logits never lead by 9, where the official constants begin to matter."""
    exact = _replay(trace, config=_official(), score_of=None)
    *_, (_, _, engine) = exact
    torch.testing.assert_close(LAYOUT.split(engine.logits())["first"], trace["logits0"][-1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("wrong", [{"tracker": "paper", "compat": "none"}, {"alpha": 0.9}, {"learning_rate": 19.0}])
def test_the_comparison_can_tell_another_rule(trace, wrong):
    config = MaskProConfig(**{**_official().model_dump(), **wrong})
    *_, (_, _, engine) = _replay(trace, config=config, score_of=official_score)
    assert (LAYOUT.split(engine.logits())["first"] - trace["logits0"][-1]).abs().max() > 1e-3

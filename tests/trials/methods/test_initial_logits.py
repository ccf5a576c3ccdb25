"""Logits that start from the saliency of a one-shot method: its order, its spread, its cost, and what is refused."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.topn import topn
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.initial_logits.compute import initial_logits, saliency_logits
from nmlab.trials.methods.initial_logits.maths import logits_of_mask, logits_of_scores
from nmlab.trials.methods.initial_masks import initial_mask, initial_mask_methods
from nmlab.trials.models import MaskedModel
from nmlab.trials.testing import small_replica, small_spec, small_text

LEARNED = ("soft_topn", "simple", "susi", "maskllm")
FROM_WANDA = {"initial_logits": "saliency", "initial_mask": "wanda"}


@pytest.fixture(scope="module")
def replica():
    return small_replica()


@pytest.fixture
def context_of(replica, tmp_path_factory):
    text = small_text(tmp_path_factory.mktemp("text"))

    def make(pattern="2:4", *, seed=0, on=replica):
        calibration = small_spec("dense", text=text).calibration
        return TrialContext(on, MaskedModel(on.frozen), Pattern.parse(pattern), calibration, seed)

    return make


@given(st.integers(0, 10**6), st.floats(-6, 6), st.sampled_from([4, 8, 16]))
def test_logits_keep_the_order_of_scores_and_have_unit_spread(seed, exponent, m):
    scores_GM = torch.rand(50, m, generator=torch.Generator().manual_seed(seed)).add(1e-3) * 10.0**exponent
    logits_GM = logits_of_scores(scores_GM)
    assert torch.equal(topn(logits_GM, Pattern(m // 2, m)), topn(scores_GM, Pattern(m // 2, m)))
    assert float(logits_GM.square().mean().sqrt()) == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(logits_GM.mean(1), torch.zeros(50), rtol=0, atol=1e-5)
    torch.testing.assert_close(logits_of_scores(scores_GM * 7), logits_GM, rtol=0, atol=1e-4)


def test_scores_of_zero_do_not_set_the_spread():
    """A dead input has the score 0 in every row: it is the last of its group, and the others keep their distances."""
    scores_GM = torch.rand(400, 8, generator=torch.Generator().manual_seed(0)) + 0.5
    scores_GM[:40, 3] = 0
    logits_GM = logits_of_scores(scores_GM)
    assert bool((logits_GM[:40].argmin(1) == 3).all())
    assert bool(logits_GM.isfinite().all())
    assert float(logits_GM.min()) > -10


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_equal_scores_prefer_nothing(value):
    assert torch.equal(logits_of_scores(torch.full((5, 4), value)), torch.zeros(5, 4))


def test_a_mask_gives_two_values():
    mask_GM = torch.tensor([[True, False, False, False], [False, False, True, False]])
    logits_GM = logits_of_mask(mask_GM)
    assert float(logits_GM.square().mean().sqrt()) == pytest.approx(1)
    assert len(set(logits_GM[mask_GM].tolist())) == len(set(logits_GM[~mask_GM].tolist())) == 1
    assert torch.equal(topn(logits_GM, Pattern(1, 4)), mask_GM)


@pytest.mark.parametrize("pattern", ["2:4", "2:8"])
@pytest.mark.parametrize("name", initial_mask_methods())
def test_without_noise_the_start_is_the_mask_of_the_rule(context_of, name, pattern):
    """For all rules, those with scores and those with a mask alone; with noise it is near it."""
    context = context_of(pattern)
    expected = initial_mask(name, context)
    for learned in ("soft_topn", "simple", "susi"):
        method = registry.get(learned)
        settings = {"steps": 1, "initial_logits": "saliency", "initial_mask": name}
        exact = method.start(context_of(pattern), method.configure({**settings, "initial_std": 0.0}))
        noisy = method.start(context_of(pattern), method.configure(settings))
        for layer, mask in expected.items():
            assert torch.equal(exact.masks()[layer], mask)
            assert torch.equal(exact.initial_masks()[layer], mask)
            assert float((noisy.masks()[layer] == mask).float().mean()) > 0.95


def test_spread_and_seeds(context_of):
    given_ = {"start": "saliency", "mask": "wanda", "spread": 0.5}
    plain = initial_logits(context_of(), **given_, initial_std=0.0)
    assert float(plain.square().mean().sqrt()) == pytest.approx(0.5, rel=1e-4)
    first, second = (initial_logits(context_of(seed=seed), **given_, initial_std=0.01) for seed in (0, 1))
    assert float((first - plain).std()) == pytest.approx(0.01, rel=0.1)
    assert not torch.equal(first, second)
    assert torch.equal(first, initial_logits(context_of(), **given_, initial_std=0.01))


@pytest.mark.parametrize("name", LEARNED)
def test_every_trial_is_charged_what_the_saliency_costs(context_of, name):
    """As wanda by itself, which is computed once; the trial that did it has spent it, the other has not."""
    on, method, wanda = small_replica(), registry.get(name), registry.get("wanda")
    alone = context_of(on=small_replica())
    wanda.start(alone, wanda.configure({}))
    first, second = context_of(on=on), context_of(on=on, seed=1)
    for context in (first, second):
        run = method.start(context, method.configure({"steps": 1, **FROM_WANDA}))
        run.initial_masks()  # asked for again, and not charged again
        assert context.cost.forwards == context.cost.initial.forwards == alone.cost.forwards > 0
        assert context.cost.tokens == alone.cost.tokens
    assert (first.cost.spent.forwards, second.cost.spent.forwards) == (alone.cost.forwards, 0)


def test_gates_of_maskllm_rise_with_what_a_candidate_keeps(context_of):
    method = registry.get("maskllm")
    run = method.start(context_of(), method.configure({"steps": 1, "prior_strength": 50.0, **FROM_WANDA}))
    expected = initial_mask("wanda", context_of())
    agreement = [(run.masks()[layer] == mask).float().mean() for layer, mask in expected.items()]
    assert float(torch.stack(agreement).mean()) > 0.95
    graded = method.start(context_of(), method.configure({"steps": 1, "prior_strength": 50.0, "initial_mask": "wanda"}))
    assert not torch.equal(run.state()["parameter/gates"], graded.state()["parameter/gates"])


def test_saliency_is_on_the_device_of_the_model_and_float32(context_of, replica):
    found = saliency_logits("magnitude", context_of())
    assert {(each.dtype, each.device.type) for each in found.values()} == {(torch.float32, "cpu")}
    assert {name: tuple(each.shape) for name, each in found.items()} == {
        layer.name: (layer.out_features, layer.in_features) for layer in replica.frozen.layers
    }


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"initial_logits": "saliency"}, "initial_logits = saliency needs an initial_mask"),
        ({"initial_mask": "wanda"}, "initial_mask = wanda has no effect on random logits"),
        ({"initial_logits": "saliency", "initial_mask": "wandda"}, "did you mean 'wanda'"),
        ({"initial_logits": "saliency", "initial_mask": "susi"}, "unknown initial_mask 'susi'"),
    ],
)
@pytest.mark.parametrize("name", ["soft_topn", "simple", "susi"])
def test_what_does_not_fit_together_is_refused(name, settings, reason):
    method = registry.get(name)
    assert reason in (method.unsupported_reason(Pattern(2, 4), method.configure(settings)) or "")


def test_maskllm_has_no_saliency_without_a_mask():
    method = registry.get("maskllm")
    config = method.configure({"initial_logits": "saliency", "initial_mask": "none"})
    assert "needs an initial_mask" in (method.unsupported_reason(Pattern(2, 4), config) or "")

"""The logits that MaskPro starts from, and the share of groups that masks drawn from them resample."""

import math

import pytest
import torch

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout, MaskKey
from nmlab.trials.masks import deviation
from nmlab.trials.masks.plackett_luce import log_prob
from nmlab.trials.masks.topn import topn
from nmlab.trials.methods import registry
from nmlab.trials.methods.initial_masks import initial_mask, initial_mask_methods
from nmlab.trials.methods.maskpro.start import deviating, expected_share, first_store, resampled_share
from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS

MASKPRO, WANDA = registry.get("maskpro"), registry.get("wanda")
FROM_WANDA = {"initial_logits": "saliency", "initial_mask": "wanda"}
SMALL = {"logit_magnitude": 3.0, "learning_rate": 5.0, "steps": 12}


@pytest.fixture
def start(make_context):
    def begin(pattern="2:4", *, seed=0, context=None, **hyperparameters):
        return MASKPRO.start(
            context or make_context(pattern, seed=seed), MASKPRO.configure({**SMALL, **hyperparameters})
        )

    return begin


def test_saliency_logits_are_c_times_the_logarithm_of_the_scores_less_its_mean(start, make_context):
    context = make_context()
    scores = WANDA.saliency(context, WANDA.configure({}))
    logarithm_GM = GroupLayout(context.model.frozen.layers, pattern=context.pattern).join(scores).log()
    expected_GM = 3.0 * (logarithm_GM - logarithm_GM.mean(dim=1, keepdim=True))
    torch.testing.assert_close(start(**FROM_WANDA)._engine.logits(), expected_GM, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pattern", ["1:4", "2:4", "4:8", "8:16"])
@pytest.mark.parametrize("name", initial_mask_methods())
def test_the_start_is_the_mask_of_the_rule(start, make_context, name, pattern):
    run, expected = (
        start(pattern, initial_mask=name, initial_logits="saliency"),
        initial_mask(name, make_context(pattern)),
    )
    for layer, mask in expected.items():
        assert torch.equal(run.initial_masks()[layer], mask)
        assert torch.equal(run.masks()[layer], mask)


def test_first_order_corrects_the_scores_that_the_start_takes(start, make_context):
    run = start(initial_logits="first_order", initial_mask="wanda")
    expected = initial_mask("first_order:wanda", make_context())
    assert all(torch.equal(run.initial_masks()[layer], mask) for layer, mask in expected.items())
    config = MASKPRO.configure({"initial_logits": "first_order", "initial_mask": "first_order"})
    reason = MASKPRO.unsupported_reason(Pattern(2, 4), config)
    assert "initial_mask = first_order starts from another mask itself" in reason


def test_without_scores_the_masks_are_those_of_constant_logits(start):
    """SparseGPT's mask is no top-N of scores: 1 apart and times C, its logits draw what C and 0 draw."""
    by_mask, constant = (start(initial_mask="sparsegpt", initial_logits=kind) for kind in ("saliency", "constant"))
    one, other = (run._engine.logits() for run in (by_mask, constant))
    torch.testing.assert_close(one - other, (one - other)[:1, :1].expand_as(one), rtol=0, atol=1e-5)
    key = MaskKey(0, 0)
    drawn, expected = by_mask._engine.sample(key), constant._engine.sample(key)
    assert torch.equal(drawn.groups_g, expected.groups_g)
    assert torch.equal(drawn.masks_gM, expected.masks_gM)


def test_undecided_groups_are_resampled_often_and_clear_ones_seldom(start):
    """By the gap between the scores of the last weight that is kept and the first that is dropped."""
    run = start(**FROM_WANDA, logit_magnitude=6.0)
    sorted_GM = run._engine.logits().sort(dim=1, descending=True).values
    gap_G, drawn_G = sorted_GM[:, 1] - sorted_GM[:, 2], torch.zeros(len(sorted_GM))
    for index in range(40):
        drawn_G[run._engine.sample(MaskKey(0, 0, index)).groups_g] += 1 / 40
    near_G, far_G = gap_G < gap_G.quantile(0.25), gap_G > gap_G.quantile(0.75)
    assert float(drawn_G[near_G].mean()) > 0.3
    assert float(drawn_G[far_G].mean()) < 0.02


def test_every_trial_is_charged_what_the_saliency_and_the_losses_of_the_start_cost(random_model, freeze, make_context):
    alone = make_context()
    WANDA.start(alone, WANDA.configure({}))
    on = ReplicaContext(freeze(random_model("llama")))
    first, second = make_context(on=on), make_context(on=on, seed=1)
    for context in (first, second):
        MASKPRO.start(context, MASKPRO.configure({**SMALL, **FROM_WANDA}))
        assert context.cost.forwards == context.cost.initial.forwards == alone.cost.forwards + len(context.batches)
    assert (first.cost.spent.forwards, second.cost.spent.forwards) == (first.cost.forwards, 0)


def test_logits_in_two_bytes_cannot_hold_a_saliency():
    message = "logits = bfloat16_delta with initial_logits = saliency: expected float32, as it holds differences"
    with pytest.raises(ValueError, match=message):
        MASKPRO.configure({"logits": "bfloat16_delta", **FROM_WANDA})
    reason = MASKPRO.unsupported_reason(Pattern(2, 4), MASKPRO.configure({**FROM_WANDA, "initial_mask": "wnada"}))
    assert "did you mean 'wanda'" in reason


@pytest.mark.parametrize("pattern", ["1:4", "2:4", "4:8", "8:16", "16:32"])
@pytest.mark.parametrize("magnitude", [0.0, 2.0, 10.0])
def test_the_share_of_constant_logits_has_a_closed_form(pattern, magnitude):
    """1 - prod over j of (N - j) e^C / ((N - j) e^C + M - N): no dropped weight is drawn among the first N."""
    parsed = Pattern.parse(pattern)
    logits_1M = (torch.arange(parsed.m) < parsed.n).float()[None] * magnitude
    kept = [(parsed.n - j) * math.exp(magnitude) for j in range(parsed.n)]
    expected = -math.expm1(sum(math.log(weight / (weight + parsed.m - parsed.n)) for weight in kept))
    assert float(deviating(logits_1M, pattern=parsed)) == pytest.approx(expected, rel=1e-6)


def test_both_ways_to_a_probability_agree():
    logits_GM = 2 * torch.randn(50, 16, generator=torch.Generator().manual_seed(0))
    mode_GM = topn(logits_GM, Pattern(8, 16))
    exact_G = deviation.probability(logits_GM, mode_GM, n=8)
    torch.testing.assert_close(-torch.expm1(log_prob(logits_GM.double(), mode_GM, n=8)), exact_G, rtol=0, atol=1e-9)


@pytest.mark.parametrize("changes", [{}, FROM_WANDA])
def test_the_share_is_what_masks_resample(start, make_context, changes):
    """Against 200 drawn masks, within four standard errors of a mean over groups that are drawn independently."""
    context = make_context()
    config = MASKPRO.configure({**SMALL, **changes})
    layout = GroupLayout(context.model.frozen.layers, pattern=context.pattern)
    store = first_store(context, config, layout=layout)
    share = resampled_share(store, layout=layout, pipeline=SINGLE_PROCESS)
    run = start(**changes)
    drawn = sum(len(run._engine.sample(MaskKey(0, 0, index)).groups_g) for index in range(200))
    assert drawn / (200 * layout.groups) == pytest.approx(share, abs=4 * math.sqrt(share / (200 * layout.groups)))


@pytest.mark.parametrize("pattern", ["2:4", "4:8", "8:16"])
@pytest.mark.parametrize("changes", [{}, {"initial_logits": "saliency", "initial_mask": "magnitude"}])
def test_the_share_is_known_before_a_model_is_loaded(make_context, pattern, changes):
    """Exactly for constant logits, and for those from saliency as far as the weights are normal."""
    context, config = make_context(pattern), MASKPRO.configure({**SMALL, **changes})
    layout = GroupLayout(context.model.frozen.layers, pattern=context.pattern)
    store = first_store(context, config, layout=layout)
    share = resampled_share(store, layout=layout, pipeline=SINGLE_PROCESS)
    expected = expected_share(config, pattern=context.pattern)
    assert expected == pytest.approx(share, rel=0.1 if changes else 1e-6)


def test_nothing_is_resampled_where_all_is_kept():
    assert float(deviating(torch.ones(3, 4), pattern=Pattern(4, 4)).sum()) == 0

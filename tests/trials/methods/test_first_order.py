"""first_order: its scales under heavy tails, its line search, what it costs, and how learned methods start from it."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.masks.topn import check_mask, topn
from nmlab.trials.measure.cost import Bill
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.first_order.maths import (
    least,
    scaled_gradient,
    scores_of_logits,
    shifted_logits,
    split_minibatches,
    step_sizes,
)
from nmlab.trials.methods.initial_logits.compute import group_scores
from nmlab.trials.methods.initial_masks import initial_mask, initial_mask_methods
from nmlab.trials.models import MaskedModel
from nmlab.trials.testing import small_replica, small_spec, small_text

SCALES = ("ranks", "clipped", "std")
BASES = tuple(name for name in initial_mask_methods() if name != "first_order")
LEARNED = ("soft_topn", "simple", "susi")
METHOD = registry.get("first_order")
READ, SEARCHED = 3, 1  # of four minibatches
TOKENS = 2 * 16  # of a minibatch


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return small_text(tmp_path_factory.mktemp("text"))


@pytest.fixture(scope="module")
def replica():
    return small_replica()


@pytest.fixture
def context_of(replica, text):
    def make(pattern="2:4", *, seed=0, on=replica, **changes):
        calibration = small_spec("dense", text=text).calibration.model_copy(update=changes)
        return TrialContext(on, MaskedModel(on.frozen), Pattern.parse(pattern), calibration, seed)

    return make


def started(context, **hyperparameters):
    return METHOD.start(context, METHOD.configure(hyperparameters))


def line_search(run):
    """Return step sizes and losses."""
    arrays = run.diagnostics(lambda: False)["line_search.npz"]
    return arrays["kappa_S"].tolist(), arrays["loss_S"].tolist()


def heavy_tailed(seed, groups=60, m=4):
    """Return numbers of which some are zero and a few are millions of times larger than most."""
    draw = torch.Generator().manual_seed(seed)
    numbers_GM = torch.randn(groups, m, generator=draw)
    numbers_GM *= 10.0 ** (2 * torch.randn(groups, m, generator=draw))
    return numbers_GM.masked_fill_(torch.rand(groups, m, generator=draw) < 0.1, 0.0)


@pytest.mark.parametrize("scale", SCALES)
@given(seed=st.integers(0, 10**6), exponent=st.integers(-20, 20))
def test_a_scaled_gradient_keeps_signs_and_order_and_forgets_its_unit(scale, seed, exponent):
    gradient_GM = heavy_tailed(seed)
    scaled_GM = scaled_gradient(gradient_GM, scale)
    assert torch.equal(scaled_GM.sign(), gradient_GM.sign())
    in_order = scaled_GM.flatten()[gradient_GM.flatten().argsort()]
    assert bool((in_order[1:] >= in_order[:-1]).all())
    again_GM = scaled_gradient(gradient_GM * 2.0**exponent, scale)
    torch.testing.assert_close(again_GM, scaled_GM, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("scale", "most"), [("ranks", 4.0), ("clipped", 3.0)])
@given(seed=st.integers(0, 10**6))
def test_no_entry_of_a_robust_scale_is_large_however_heavy_the_tail(scale, most, seed):
    gradient_GM = heavy_tailed(seed)
    assert float(scaled_gradient(gradient_GM, scale).abs().max()) <= most
    typical = scaled_gradient(gradient_GM, scale).abs().median()
    gradient_GM.view(-1)[int(gradient_GM.abs().argmax())] = 1e30
    assert float(scaled_gradient(gradient_GM, scale).abs().median()) == pytest.approx(float(typical), rel=1e-5)
    assert float(scaled_gradient(gradient_GM, "std").abs().median()) < 1e-6, "the scale that is not robust"


def test_ranks_of_a_normal_gradient_give_it_back():
    gradient_GM = torch.randn(20_000, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(scaled_gradient(gradient_GM, "ranks"), gradient_GM, rtol=0.05, atol=0.02)
    torch.testing.assert_close(scaled_gradient(gradient_GM, "std"), gradient_GM, rtol=0.02, atol=0.01)
    clipped_GM = scaled_gradient(gradient_GM, "clipped")
    torch.testing.assert_close(clipped_GM, gradient_GM.clamp(-3, 3), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("scale", SCALES)
def test_a_gradient_of_zeros_moves_nothing(scale):
    assert torch.equal(scaled_gradient(torch.zeros(5, 4), scale), torch.zeros(5, 4))


@pytest.mark.parametrize("scale", SCALES)
def test_of_a_gradient_that_is_nearly_all_zero_the_rest_counts(scale):
    gradient_GM = torch.zeros(50, 4)
    gradient_GM[3, 1] = -2.0
    scaled_GM = scaled_gradient(gradient_GM, scale)
    assert 1 < -float(scaled_GM[3, 1]) < 20
    assert int(scaled_GM.count_nonzero()) == 1


def test_a_step_goes_against_the_gradient():
    logits_GM, gradient_GM = torch.tensor([[1.0, 0.0, -1.0, 0.5]]), torch.tensor([[2.0, -2.0, 0.0, 1.0]])
    shifted_GM = shifted_logits(logits_GM, gradient_GM, kappa=0.5)
    assert torch.equal(shifted_GM, torch.tensor([[0.0, 1.0, -1.0, 0.0]]))
    assert torch.equal(shifted_logits(logits_GM, gradient_GM, kappa=0.0), logits_GM)


@given(st.integers(0, 10**6), st.floats(0.1, 30))
def test_scores_of_logits_are_positive_and_have_their_order(seed, spread):
    logits_GM = torch.randn(50, 8, generator=torch.Generator().manual_seed(seed)) * spread
    scores_GM = scores_of_logits(logits_GM)
    assert float(scores_GM.min()) > 0
    assert float(scores_GM.max()) == 1
    in_order = scores_GM.flatten()[logits_GM.flatten().argsort()]
    assert bool((in_order[1:] >= in_order[:-1]).all())
    near = scores_GM > 1e-30
    torch.testing.assert_close(scores_GM.log()[near], (logits_GM - logits_GM.max())[near], rtol=1e-4, atol=1e-4)


def test_step_sizes_begin_with_none_and_double():
    assert step_sizes(1.28, count=8) == (0.0, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
    assert step_sizes(3.0, count=1) == (0.0, 3.0)


@pytest.mark.parametrize(
    ("losses", "place"),
    [
        ([3.0, 2.0, 4.0], 1),
        ([2.0, 2.0], 0),
        ([2.0, math.nan, math.inf], 0),
        ([math.nan, 5.0, math.nan], 1),
        ([5.0, -math.inf, 6.0], 0),
        ([math.nan, math.inf, math.nan], 0),
    ],
)
def test_the_least_loss_is_finite_where_any_is_and_the_first_of_equal_ones(losses, place):
    assert least(losses) == place


@given(st.integers(1, 300), st.integers(1, 64), st.integers(1, 64))
def test_the_line_search_reads_what_the_gradient_does_not(minibatches, gradient, search):
    read, searched = split_minibatches(minibatches, gradient=gradient, search=search)
    assert 1 <= read <= gradient
    assert 1 <= searched <= min(search, max(1, minibatches / 4))
    assert read + searched <= minibatches or minibatches == read == searched == 1


@pytest.mark.parametrize("pattern", ["1:4", "2:4", "4:8"])
@pytest.mark.parametrize("base", BASES)
def test_it_is_never_worse_than_its_start_where_it_compares(context_of, base, pattern):
    context = context_of(pattern)
    run = started(context, initial_mask=base)
    kappas, losses = line_search(run)
    model, compared = context.model, context.batches[-SEARCHED:]

    def mean_loss(masks):
        model.apply_masks(masks)
        return sum(map(model.loss, compared)) / SEARCHED

    start = initial_mask(base, context)
    assert kappas[0] == 0
    assert mean_loss(start) == losses[0]
    assert mean_loss(run.masks()) == min(losses) <= losses[0]
    for name, mask in run.masks().items():
        check_mask(mask, context.pattern, name=name)


@pytest.mark.parametrize("base", BASES)
def test_without_a_better_step_it_is_the_start_and_says_so(context_of, base):
    """A step of 1e-9 moves no mask, so its loss is that of the start."""
    context = context_of()
    settings = {"initial_mask": base, "kappa_max": 1e-9, "kappa_count": 1}
    run, start = started(context, **settings), initial_mask(base, context)
    assert all(torch.equal(mask, start[name]) for name, mask in run.masks().items())
    assert context.notes == [f"no step along the gradient lowered the loss, so this is the mask of {base}"]
    scores = METHOD.saliency(context, METHOD.configure(settings))
    assert all(torch.equal(topn(scores[name], context.pattern), mask) for name, mask in start.items())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_step_to_a_loss_that_is_not_finite_is_worse_than_none(context_of, monkeypatch, value):
    """All steps but the one of 0.04 lead there; without it, the start remains."""
    context, calls, loss = context_of(on=small_replica()), [], MaskedModel.loss

    def broken(model, tokens):
        calls.append(loss(model, tokens))
        return calls[-1] if (len(calls) - 1) // SEARCHED in finite else value

    monkeypatch.setattr(MaskedModel, "loss", broken)
    for finite, kappa in (({0, 3}, 0.04), ({0}, 0.0)):
        calls.clear()
        run = started(context_of(on=small_replica()))
        kappas, losses = line_search(run)
        assert kappas[least(losses)] == kappa
        assert [math.isfinite(each) for each in losses] == [place in finite for place in range(9)]
    start = initial_mask("wanda", context)
    assert all(torch.equal(mask, start[name]) for name, mask in run.masks().items())


def test_a_start_without_a_finite_loss_has_no_gradient(context_of, monkeypatch):
    monkeypatch.setattr(MaskedModel, "loss_under", lambda *_: torch.tensor(math.nan))
    with pytest.raises(DivergedError, match=r"^the mask has the loss nan on calibration minibatch 0$"):
        started(context_of(on=small_replica()))


@pytest.mark.parametrize("settings", [{}, {"gradient_scale": "std"}, {"gradient_tau": 0.0}, {"gradient_batches": 1}])
def test_it_beats_its_start_on_the_whole_calibration_text(context_of, settings):
    context = context_of()
    run = started(context, **settings)
    losses = []
    for masks in (initial_mask("wanda", context), run.masks()):
        context.model.apply_masks(masks)
        losses.append(sum(map(context.model.loss, context.batches)))
    assert losses[1] < losses[0]


@pytest.mark.parametrize("base", ["magnitude", "wanda", "sparsegpt_mask"])
def test_every_pass_is_charged(context_of, base):
    """A forward and a backward for the gradient, a forward for each of 0 and eight steps; beside them the start."""
    alone, context = context_of(on=small_replica()), context_of(on=small_replica())
    registry.get(base).start(alone, registry.get(base).configure({}))
    started(context, initial_mask=base)
    forwards = READ + 9 * SEARCHED
    own = Bill(forwards=forwards, backwards=READ, tokens=forwards * TOKENS)
    for name in ("forwards", "backwards", "tokens"):
        charged = getattr(context.cost.bill, name)
        assert charged == getattr(own, name) + getattr(alone.cost.bill, name)
        assert getattr(context.cost.initial, name) == getattr(alone.cost.bill, name)


def test_fewer_minibatches_cost_less(context_of):
    context = context_of(on=small_replica())
    started(context, initial_mask="magnitude", gradient_batches=2, kappa_count=2)
    assert (context.cost.forwards, context.cost.backwards) == (2 + 3, 2)


def test_trials_with_the_same_settings_share_one_computation(context_of):
    """As method, as initial mask and as saliency, each with its own bill; another setting is another computation."""
    on = small_replica()
    first = context_of(on=on)
    started(first)
    assert first.cost.spent.backwards == READ
    for use in (
        lambda context: started(context),
        lambda context: initial_mask("first_order", context),
        lambda context: initial_mask("first_order:wanda", context),
        lambda context: group_scores("first_order", context),
    ):
        context = context_of(on=on, seed=1)
        use(context)
        assert context.cost.bill.forwards == first.cost.bill.forwards
        assert context.cost.bill.backwards == READ
        assert context.cost.spent.forwards == context.cost.spent.backwards == 0
    other = context_of(on=on)
    started(other, gradient_tau=0.5)
    assert other.cost.spent.backwards == READ
    assert other.cost.spent.forwards == READ + 9 * SEARCHED, "the start is shared"


def test_one_file_holds_the_mask_under_both_of_its_names(text, tmp_path):
    calibration = small_spec("dense", text=text).calibration
    for name in ("first_order", "first_order:wanda", "first_order:magnitude"):
        replica = small_replica(initial_masks=tmp_path)
        context = TrialContext(replica, MaskedModel(replica.frozen), Pattern(2, 4), calibration, 0)
        mask = initial_mask(name, context)
        expected = started(context, initial_mask="magnitude" if "magnitude" in name else "wanda").masks()
        assert all(torch.equal(mask[layer], expected[layer]) for layer in mask)
    found = sorted(path.parent.name for path in tmp_path.glob("*/mask.safetensors"))
    (record,) = {record["method"]: record for record in context.started_from.values()}.values()
    assert record["hyperparameters"]["initial_mask"] == "magnitude"
    assert len(found) == 2
    assert record["key"] in found


def test_from_a_random_mask_every_seed_has_its_own(context_of):
    on = small_replica()
    one, other, again = (initial_mask("first_order:random", context_of(seed=seed, on=on)) for seed in (0, 1, 0))
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert all(torch.equal(one[name], again[name]) for name in one)
    config = METHOD.configure({"initial_mask": "random"})
    assert METHOD.uses_seed(config)
    assert not METHOD.uses_seed(METHOD.configure({}))


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("base", ["wanda", "sparsegpt_mask"])
def test_learned_methods_start_from_its_saliency(context_of, name, base):
    """Under either spelling; without noise the first mask is its mask."""
    method, expected = registry.get(name), started(context_of(), initial_mask=base).masks()
    common = {"steps": 1, "initial_std": 0.0}
    for spelling in (
        {"initial_logits": "first_order", "initial_mask": base},
        {"initial_logits": "saliency", "initial_mask": f"first_order:{base}"},
    ):
        config = method.configure({**common, **spelling})
        assert method.unsupported_reason(Pattern(2, 4), config) is None
        context = context_of()
        run = method.start(context, config)
        assert all(torch.equal(run.initial_masks()[layer], mask) for layer, mask in expected.items())
        assert context.cost.initial.backwards == context.cost.backwards == READ


def test_temperatures_begin_near_hard_as_from_any_saliency():
    for name, field in (("soft_topn", "tau"), ("soft_topn", "lam"), ("simple", "lam")):
        method = registry.get(name)
        saliency, corrected = (
            getattr(method.configure({"initial_logits": start, "initial_mask": "wanda"}), field)
            for start in ("saliency", "first_order")
        )
        assert corrected == saliency != getattr(method.configure({}), field)


def test_maskllm_takes_its_mask_or_its_saliency_as_prior(context_of):
    method, expected = registry.get("maskllm"), started(context_of()).masks()
    for settings in ({"initial_mask": "first_order"}, {"initial_logits": "first_order", "initial_mask": "wanda"}):
        config = method.configure({"steps": 1, "prior_strength": 50.0, **settings})
        assert method.unsupported_reason(Pattern(2, 4), config) is None
        masks = method.start(context_of(), config).masks()
        agreement = torch.stack([(masks[layer] == mask).float().mean() for layer, mask in expected.items()])
        assert float(agreement.mean()) > 0.95


def test_maskpro_starts_from_its_mask(context_of):
    method, context = registry.get("maskpro"), context_of()
    run = method.start(context, method.configure({"steps": 1, "initial_mask": "first_order:magnitude"}))
    expected = started(context_of(), initial_mask="magnitude").masks()
    assert all(torch.equal(run.masks()[layer], mask) for layer, mask in expected.items())
    assert context.cost.initial.backwards == READ
    (record,) = context.started_from.values()
    assert (record["method"], record["hyperparameters"]["initial_mask"]) == ("first_order", "magnitude")


@pytest.mark.parametrize(
    ("method", "settings", "reason"),
    [
        ("first_order", {"initial_mask": "wandda"}, "unknown initial_mask 'wandda'; did you mean 'wanda'?"),
        ("first_order", {"initial_mask": "susi"}, "unknown initial_mask 'susi'"),
        ("first_order", {"initial_mask": "first_order"}, "initial_mask = first_order starts from another mask itself"),
        ("maskpro", {"initial_mask": "first_ordr"}, "unknown initial_mask 'first_ordr'; did you mean 'first_order'?"),
        ("maskpro", {"initial_mask": "first_order:wandda"}, "unknown initial_mask 'wandda'; did you mean 'wanda'?"),
        (
            "maskpro",
            {"initial_mask": "wanda:magnitude"},
            "wanda starts from no other mask; expected initial_mask = wanda",
        ),
        ("maskpro", {"initial_mask": "first_order:first_order"}, "initial_mask = first_order starts from another mask"),
        ("maskllm", {"initial_mask": "first_order:none"}, "unknown initial_mask 'none'"),
        ("maskllm", {"initial_mask": "none", "initial_logits": "first_order"}, "first_order needs an initial_mask"),
        (
            "maskllm",
            {"initial_mask": "first_order", "initial_logits": "first_order"},
            "starts from another mask itself",
        ),
        ("susi", {"initial_logits": "first_order"}, "initial_logits = first_order needs an initial_mask"),
        ("susi", {"initial_logits": "first_order", "initial_mask": "first_order"}, "starts from another mask itself"),
        ("susi", {"initial_mask": "first_order"}, "initial_mask = first_order has no effect on random logits"),
    ],
)
def test_what_it_cannot_start_from_is_refused(method, settings, reason):
    found = registry.get(method)
    assert reason in (found.unsupported_reason(Pattern(2, 4), found.configure(settings)) or "")


def test_losses_are_written_with_the_trial(context_of):
    kappas, losses = line_search(started(context_of(), kappa_max=0.4, kappa_count=3))
    assert kappas == [0.0, 0.1, 0.2, 0.4]
    assert np.isfinite(losses).all()

"""Moves of the Triton engine: the exact score, several masks a step, and what a move leaves behind."""

import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import Draw
from nmlab.trials.engines.triton import finder, launch
from nmlab.trials.masks.plackett_luce import reference
from nmlab.trials.masks.topn import topn

# One or two kept items of M = L and of M < L lanes, which kernels move; more of them, which torch moves in two ways.
PATTERNS = ["1:4", "1:3", "2:4", "2:3", "4:8", "9:10"]
# Initial logits of stores of differences: then their words say which logits begin there, and kernels must read them.
MAGNITUDE = {"float32": 0.0, "bfloat16_delta": 2.0}


def exact_score(logits_GM: torch.Tensor, mask_GM: torch.Tensor) -> torch.Tensor:
    """Float64 autograd through the log-domain recursion over subsets."""
    leaf_GM = logits_GM.double().requires_grad_()
    (score_GM,) = torch.autograd.grad(reference.log_prob(leaf_GM, mask_GM).sum(), leaf_GM)
    return score_GM


def distant_logits(m: int) -> torch.Tensor:
    """Groups with leads that float32 weights cannot hold, equal logits, and large ones."""
    draw = torch.Generator().manual_seed(3)
    rows = [40.0, 60.0, 100.0, 0.0, 1e-3]
    scaled = torch.cat([scale * torch.randn(100, m, generator=draw) for scale in rows])
    return torch.cat([scaled, 500.0 + torch.randn(100, m, generator=draw)])


@pytest.mark.parametrize("pattern", PATTERNS)
def check_the_score(lab, pattern):
    m = Pattern.parse(pattern).m
    logits_GM = torch.cat([lab.random_logits(900, m), distant_logits(m)])
    layout = lab.layout(pattern, 900, 600)
    engine = lab.engine(layout, logits_GM)
    draw = engine.sample(lab.key())
    mask_GM = draw.over(engine.mode()).cpu()
    engine.descend([draw], weights=[-0.5], rate=2.0)
    moved_GM = engine.logits().cpu().double() - logits_GM.double()
    error_GM = (moved_GM - exact_score(logits_GM, mask_GM)).abs()
    # An ulp of the logit, and what float32 weights of large logits lose: two ulp of the exponent.
    room_GM = 2e-7 * logits_GM.abs().amax(1, keepdim=True) + 2e-6
    assert bool((error_GM <= room_GM).all()), float((error_GM / room_GM).max())


@pytest.mark.parametrize("pattern", ["1:4", "2:4", "2:8"])
def check_the_score_of_cold_groups(lab, pattern):
    """Relative to its own size: at dropped logits, which are zero, float32 holds small moves exactly."""
    leads = [8.0, 14.0, 20.0, 30.0]
    layout = lab.layout(pattern, *[128] * len(leads))
    draw = torch.Generator().manual_seed(1)
    kept_GM = topn(torch.rand(layout.groups, layout.pattern.m, generator=draw), layout.pattern)
    logits_GM = kept_GM * torch.tensor(leads).repeat_interleave(128).unsqueeze(1)
    engine = lab.engine(layout, logits_GM)
    score_GM = exact_score(logits_GM, kept_GM)
    none = Draw(lab.key(), torch.empty(0, dtype=torch.int64), torch.empty(0, layout.pattern.m, dtype=torch.bool))
    empty = Draw(none.key, none.groups_g.to(lab.device), none.masks_gM.to(lab.device))
    engine.descend([empty], weights=[-float(2.0**20)], rate=1.0)
    moved_GM = (engine.logits().cpu().double() - logits_GM.double()) / 2**20
    dropped_GM = ~kept_GM
    ratio = moved_GM[dropped_GM] / score_GM[dropped_GM]
    assert bool(((ratio - 1).abs() < 1e-5).all()), ratio


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [("1:4", "float32"), ("2:4", "bfloat16_delta"), pytest.param("4:8", "bfloat16_delta", marks=pytest.mark.thorough)],
)
def check_several_masks_in_one_step(lab, pattern, kind):
    layout = lab.layout(pattern, 700, 300)
    logits_GM = lab.random_logits(layout.groups, layout.pattern.m)
    engine = lab.engine(layout, logits_GM, kind=kind, magnitude=MAGNITUDE[kind])
    before_GM = engine.logits().cpu()
    draws = [engine.sample(lab.key(index=index)) for index in range(3)]
    weights = [0.5, -1.0, 0.25]
    scores = [exact_score(before_GM, draw.over(engine.mode()).cpu()) for draw in draws]
    modes_GM = engine.mode()
    changed_g = engine.descend(draws, weights=weights, rate=1.5)
    wanted_GM = before_GM.double() - 1.5 * sum(w * s for w, s in zip(weights, scores, strict=True))
    # What is rounded to 8 significant bits is the difference from the initial logit.
    rounded_GM = wanted_GM.abs() + MAGNITUDE[kind]
    room_GM = (2.0**-8 if kind == "bfloat16_delta" else 2.0**-22) * rounded_GM + 1e-5
    assert bool(((engine.logits().cpu().double() - wanted_GM).abs() <= room_GM).all())
    assert torch.equal(engine.mode(), topn(engine.logits(), layout.pattern))
    assert torch.equal(changed_g, (engine.mode() != modes_GM).any(1).nonzero().squeeze(1))
    assert len(changed_g) > 20


@pytest.mark.parametrize(
    ("pattern", "kind"),
    [
        ("4:8", "bfloat16_delta"),
        *(pytest.param("2:4", kind, marks=pytest.mark.thorough) for kind in ("float32", "bfloat16_delta")),
    ],
)
def check_that_drawing_ahead_changes_nothing(lab, monkeypatch, pattern, kind):
    """Fused equals separate, with two masks a step; the list of finds, at first too short, grows on the way."""
    layout = lab.layout(pattern, 300, 350)
    logits_GM = lab.random_logits(layout.groups, layout.pattern.m) / 3
    apart = lab.engine(layout, logits_GM, kind=kind, magnitude=MAGNITUDE[kind], ahead=False)
    monkeypatch.setattr(finder, "_LEAST_ROOM", 64)
    fused = lab.engine(layout, logits_GM, kind=kind, magnitude=MAGNITUDE[kind])
    for step in range(2):
        draws = [[engine.sample(lab.key(step, index)) for index in range(2)] for engine in (apart, fused)]
        assert all(lab.same(one, other) for one, other in zip(*draws, strict=True))
        pairs = zip((apart, fused), draws, strict=True)
        assert torch.equal(*(engine.descend(pair, weights=[0.7, -0.4], rate=1.0) for engine, pair in pairs))
        assert torch.equal(apart.logits(), fused.logits())
    assert len(fused._ahead) == 2
    assert not apart._ahead
    assert fused._finder.nbytes > 8 * 64


def check_that_a_state_goes_on_as_if_nothing_had_happened(lab):
    layout = lab.layout("2:4", 700, 300)
    engine, later = (lab.engine(layout, lab.random_logits(1_000, 4, seed=seed)) for seed in (0, 1))
    engine.descend([engine.sample(lab.key(0))], weights=[1.0], rate=1.0)
    later.load_state({name: tensor.clone() for name, tensor in engine.state().items()})
    for step in (1,):
        draws = [each.sample(lab.key(step)) for each in (engine, later)]
        assert lab.same(*draws)
        pairs = zip((engine, later), draws, strict=True)
        assert torch.equal(*(each.descend([draw], weights=[0.3], rate=1.0) for each, draw in pairs))
    assert torch.equal(engine.logits(), later.logits())


def check_that_masks_follow_the_logits_as_they_move(lab):
    """A mask that is rewarded becomes the mode; no group stays marked as handled apart."""
    layout = lab.layout("2:4", 600)
    engine = lab.engine(layout, lab.random_logits(600, 4) / 20)
    wanted_GM = engine.sample(lab.key()).over(engine.mode())
    for step in range(6):
        off_g = (wanted_GM != engine.mode()).any(1).nonzero().squeeze(1)
        engine.descend([Draw(lab.key(step), off_g, wanted_GM[off_g])], weights=[-2.0], rate=1.0)
    assert torch.equal(engine.mode(), wanted_GM)
    assert bool((engine.mode().sum(1) == 2).all())


@pytest.mark.parametrize(
    ("pattern", "dtype"), [("2:4", torch.bfloat16), ("3:5", torch.float32), ("4:8", torch.float16)], ids=str
)
def check_that_a_patch_rewrites_its_groups_and_no_other(lab, pattern, dtype):
    layout = lab.layout(pattern, 70, 130, 41)
    m = layout.pattern.m
    draw = torch.Generator().manual_seed(0)
    dense = [torch.randn(layer.out_features, m, generator=draw).to(lab.device, dtype) for layer in layout.layers]
    masked = [torch.full_like(weight, 7.0) for weight in dense]
    groups_g = torch.randperm(layout.groups, generator=draw)[:100].sort().values.to(lab.device)
    masks_gM = topn(torch.rand(100, m, generator=draw), layout.pattern).to(lab.device)
    engine = lab.engine(layout, torch.zeros(layout.groups, m))
    launch.patch(engine._tables, groups_g, masks_gM, dense=dense, masked=masked)
    wanted_GM = torch.full((layout.groups, m), 7.0, dtype=dtype, device=lab.device)
    wanted_GM[groups_g] = torch.cat(dense)[groups_g] * masks_gM
    assert torch.equal(torch.cat(masked), wanted_GM)

"""Masks of the Triton engine: those that NumPy draws from the same numbers, and the same for the same key."""

import pytest
import torch
from group_logits import FAMILIES, RARE

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines.triton.kernels.random import SHARE
from nmlab.trials.masks.topn import topn

FLOAT32 = ["1:4", "2:4", "3:5", "8:16", "31:32"]
# Their words hold the initial mask too; those of 16:32 are longer than 32 bits.
DIFFERENCES = ["2:4", "4:8", "16:32"]
FURTHER = [(text, "float32") for text in ("3:4", "1:2", "2:8", "4:8", "2:16")]
FURTHER += [(text, "bfloat16_delta") for text in ("1:4", "3:5", "8:16")]
CASES = [
    *((text, "float32") for text in FLOAT32),
    *((text, "bfloat16_delta") for text in DIFFERENCES),
    *(pytest.param(*case, marks=pytest.mark.thorough) for case in FURTHER),
]


def _assert_masks_are_numpys(lab, engine):
    draw, mode_GM = engine.sample(lab.key()), engine.mode()
    assert torch.equal(mode_GM, topn(engine.logits(), engine.layout.pattern))
    wanted_GM = lab.expected(engine, lab.key()).to(lab.device)
    assert torch.equal(draw.over(mode_GM), wanted_GM)
    assert torch.equal(draw.groups_g, (wanted_GM != mode_GM).any(1).nonzero().squeeze(1))
    assert 0 < len(draw.groups_g) < engine.layout.groups


@pytest.mark.parametrize(("pattern", "kind"), CASES)
def check_that_masks_are_those_of_numpy(lab, pattern, kind):
    """NumPy decides on every group, so the screen hides none; `test_triton_law.py` counts what NumPy draws."""
    m = Pattern.parse(pattern).m
    families = torch.cat([make(m).expand(300, -1) for make in FAMILIES.values()])
    logits_GM = torch.cat([families, lab.random_logits(600, m)])
    layout = lab.layout(pattern, *[300] * len(FAMILIES), 600)
    magnitude = 2.0 if kind == "bfloat16_delta" else 0.0
    _assert_masks_are_numpys(lab, lab.engine(layout, logits_GM, kind=kind, magnitude=magnitude))


@pytest.mark.parametrize(
    "pattern", ["2:4", "4:8", *(pytest.param(p, marks=pytest.mark.thorough) for p in ("1:4", "3:5"))]
)
def check_that_rare_masks_are_those_of_numpy(lab, pattern):
    """Where one group in a thousand deviates."""
    groups = 8_000
    layout = lab.layout(pattern, *[groups] * len(RARE[pattern]))
    logits_GM = torch.tensor(RARE[pattern]).repeat_interleave(groups, dim=0)
    _assert_masks_are_numpys(lab, lab.engine(layout, logits_GM))


def check_that_masks_belong_to_their_key(lab):
    layout = lab.layout("2:4", 500)
    engine = lab.engine(layout, torch.zeros(500, 4))
    keys = [lab.key(0, 0, 0), lab.key(5, 0, 0), lab.key(0, 5, 0), lab.key(0, 0, 2**64 - 1)]
    draws = [engine.sample(key).over(engine.mode()) for key in keys]
    assert not any(torch.equal(one, other) for place, one in enumerate(draws) for other in draws[:place])
    assert torch.equal(engine.sample(keys[0]).over(engine.mode()), draws[0])
    # Independent masks agree on 2 of 4 entries by chance, and groups that share a block of words do too.
    assert all(abs(float((one == draws[0]).float().mean()) - 0.5) < 0.05 for one in draws[1:])
    near, far = draws[0][: -SHARE.value], draws[0][SHARE.value :]
    assert abs(float((near == far).float().mean()) - 0.5) < 0.05


def check_that_a_layer_does_not_know_how_programs_are_cut(lab):
    """Two programs serve the second layer. NumPy is given a layer's name and no other layers."""
    layout = lab.layout("2:4", 300, 600, 33, names=["blocks.0.q", "blocks.0.up", "blocks.1.q"])
    _assert_masks_are_numpys(lab, lab.engine(layout, lab.random_logits(layout.groups, 4), span=1))


@pytest.mark.parametrize("pattern", ["4:4", "1:1"])
def check_that_nothing_deviates_where_all_is_kept(lab, pattern):
    layout = lab.layout(pattern, 100)
    engine = lab.engine(layout, lab.random_logits(100, layout.pattern.m))
    draw = engine.sample(lab.key())
    assert len(draw.groups_g) == 0
    assert engine.mode().all()
    before = engine.logits()
    assert len(engine.descend([draw], weights=[1.0], rate=1.0)) == 0
    assert torch.equal(engine.logits(), before)


def check_that_logits_stay_where_they_are(lab):
    layout = lab.layout("2:4", 1_000)
    logits_GM = lab.random_logits(1_000, 4)
    engine = lab.engine(layout, logits_GM)
    engine.sample(lab.key())
    assert torch.equal(engine.logits().cpu(), logits_GM)

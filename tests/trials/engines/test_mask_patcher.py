"""Patching a model from draw to draw gives, bit for bit, the same weights as applying each mask as a whole."""

from functools import partial

import pytest
import torch
from scripted_engine import ScriptedEngine

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines.engine import MaskKey
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.engines.mask_patcher import MaskPatcher
from nmlab.trials.models import MaskedModel

PATTERN = Pattern(2, 4)


@pytest.fixture
def frozen(random_model, freeze):
    return freeze(random_model("llama"))


@pytest.mark.parametrize("on_the_fly", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3])
def test_patched_and_newly_applied_masks_are_the_same(frozen, share, on_the_fly):
    engine = ScriptedEngine(GroupLayout(frozen.layers, pattern=PATTERN), share=share)
    patched, anew = MaskedModel(frozen), MaskedModel(frozen)
    if on_the_fly:
        patched.multiply_on_the_fly(4)
    patcher, tokens_BT = MaskPatcher(patched, engine), torch.arange(1, 25).view(2, 12)
    for step in range(12):
        draw = engine.sample(MaskKey(0, step))
        patcher.apply(draw)
        anew.apply_masks(engine.layout.split(draw.over(engine.mode())))
        assert torch.equal(patched.token_losses(tokens_BT), anew.token_losses(tokens_BT))
        if not on_the_fly:
            _assert_same_weights(patched, anew)
        if step == 5:  # an evaluation in between applies another mask
            patched.remove_masks()
            patched.apply_masks(engine.layout.split(engine.mode()))
        patcher.mode_changed(engine.descend([draw], weights=[1.0], rate=1.0))
    assert frozen.unchanged()


def _assert_same_weights(one, other):
    for layer in one.frozen.layers:
        name = f"{layer.name}.weight"
        assert torch.equal(one.module.get_parameter(name), other.module.get_parameter(name)), name


def test_masks_that_differ_little_are_patched_and_not_rewritten(frozen, monkeypatch):
    engine = ScriptedEngine(GroupLayout(frozen.layers, pattern=PATTERN), share=0.01)
    model, masked = MaskedModel(frozen), []
    apply_masks = model.apply_masks
    monkeypatch.setattr(model, "apply_masks", lambda *masks: masked.append(1) or apply_masks(*masks))
    patcher = MaskPatcher(model, engine)
    for step in range(10):
        patcher.apply(engine.sample(MaskKey(0, step)))
    assert len(masked) == 1


def test_on_the_fly_holds_a_quarter_of_a_byte_a_weight(frozen):
    model, masks = MaskedModel(frozen), {}
    model.multiply_on_the_fly(4)
    for layer in frozen.layers:
        masks[layer.name] = torch.ones(layer.out_features, layer.in_features, dtype=torch.bool)
    model.apply_masks(masks)
    assert model.bytes == sum(layer.numel for layer in frozen.layers) // 4
    model.remove_masks()
    assert model.bytes == 0


def test_parts_are_split_by_layer(frozen):
    layout = GroupLayout(frozen.layers, pattern=PATTERN)
    joined = layout.join(
        {
            layer.name: torch.full((layer.out_features, layer.in_features), index)
            for index, layer in enumerate(layout.layers)
        }
    )
    names = [layer.name for layer in layout.layers]
    groups_g = torch.randperm(layout.groups, generator=torch.Generator().manual_seed(1))[:40].sort().values
    seen = []
    for name, which, first in layout.parts(groups_g):
        assert (joined[groups_g[which], 0] == names.index(name)).all()
        rows = layout.split(torch.arange(layout.groups * 4).view(-1, 4))[name]
        assert first == int(rows.min()) // 4
        seen.append(groups_g[which])
    assert torch.equal(torch.cat(seen), groups_g)
    assert not list(layout.parts(groups_g[:0]))


@pytest.mark.parametrize("key", [MaskKey(0, 0), MaskKey(2**64 - 1, 2**32 - 1, 2**32 - 1), MaskKey(7, 8, 9)])
def test_a_mask_key_is_sixteen_bytes(key):
    assert len(key.to_bytes()) == 16
    assert MaskKey.from_bytes(key.to_bytes()) == key


@pytest.mark.parametrize("wrong", [partial(MaskKey, -1, 0), partial(MaskKey, 2**64, 0), partial(MaskKey, 0, 2**32)])
def test_a_key_that_does_not_fit_is_refused(wrong):
    with pytest.raises(ValueError, match="expected 0 <= seed"):
        wrong()
    with pytest.raises(ValueError, match="15 bytes, expected 16"):
        MaskKey.from_bytes(b"x" * 15)

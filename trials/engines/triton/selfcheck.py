"""Check that the kernels compute on a device what torch computes: a small fixed case, once a process.

A kernel can be compiled wrongly, by an untested version of Triton or for an untested device, and then draws masks of
another distribution without any error. Masks must be equal to those that NumPy draws from the same random numbers, and
moved logits to those of the torch engine within rounding.

Legend: G groups, M group size.
"""

from functools import cache

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines.engine import Draw, Engine, MaskKey
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.engines.linear import LinearEngine
from nmlab.trials.engines.logits import store_of
from nmlab.trials.engines.triton.engine import TritonEngine
from nmlab.trials.masks.randomness import key_bits
from nmlab.trials.masks.topn import topn
from nmlab.trials.models.prunable import PrunableLayer

_GROUPS = (700, 333)  # more than one program, and a last one that is not full
_WEIGHTS, _RATE, _SEED = (0.5, -1.0), 1.5, 20240229
_ROUNDING = {"float32": 2.0**-22, "bfloat16_delta": 2.0**-8}  # relative to a logit, for two ways to round it
_SLACK = 1e-5  # of float32 weights, absolute


@cache
def kernel_fault(device: torch.device, *, pattern: Pattern, kind: str) -> str | None:
    """Return the fault of the kernels on a device in a few words, or None.

    ``kind`` is a name of `LOGIT_STORES`; kernels are compiled for it and for the pattern. The result is cached.
    """
    layout = _layout(pattern)
    logits_GM = _logits(layout)
    try:
        engine: Engine = TritonEngine(layout, store=store_of(layout, logits_GM.to(device), kind=kind))
        return compared(engine, LinearEngine(layout, store=store_of(layout, logits_GM, kind=kind)), kind=kind)
    except Exception as error:  # a compiler, a driver or a launch fails in many ways
        return f"{type(error).__name__}: {(str(error).strip() or 'no reason given').splitlines()[0]}"


def compared(engine: Engine, reference: Engine, *, kind: str) -> str | None:
    """Take one step of two masks with both engines at the same logits; return the first difference in words."""
    for index in range(len(_WEIGHTS)):
        if wrong := _wrong_masks(engine, MaskKey(_SEED, 0, index)):
            return wrong
    draws = [engine.sample(MaskKey(_SEED, 0, index)) for index in range(len(_WEIGHTS))]
    before_GM = engine.mode()
    changed_g = engine.descend(draws, weights=_WEIGHTS, rate=_RATE)
    reference.descend([_on_cpu(draw) for draw in draws], weights=_WEIGHTS, rate=_RATE)
    logits_GM, wanted_GM = engine.logits().cpu(), reference.logits()
    room_GM = _ROUNDING[kind] * wanted_GM.abs().amax(1, keepdim=True) + _SLACK
    if apart := int(((logits_GM - wanted_GM).abs() > room_GM).any(1).sum()):
        return f"it moves {apart} of {len(logits_GM)} groups elsewhere than torch"
    if not torch.equal(engine.mode().cpu(), topn(logits_GM, engine.layout.pattern)):
        return "its modal masks are not those of its logits"
    if not torch.equal(changed_g, (engine.mode() != before_GM).any(1).nonzero().squeeze(1)):
        return "it does not name the groups whose mode has changed"
    return _wrong_masks(engine, MaskKey(_SEED, 1, 0))


def _wrong_masks(engine: Engine, key: MaskKey) -> str | None:
    from nmlab.trials.engines.triton.expected import expected_masks

    modes = engine.layout.split(engine.mode().cpu())
    drawn = engine.layout.split(engine.sample(key).over(engine.mode()).cpu())
    m = engine.layout.pattern.m
    wrong = 0
    for name, logits in engine.layout.split(engine.logits().cpu().double()).items():
        bits = key_bits(key.seed, key.step, name, key.index)
        wanted = expected_masks(logits.view(-1, m).numpy(), modes[name].view(-1, m).numpy(), bits=bits)
        wrong += int((drawn[name].view(-1, m).numpy() != wanted).any(1).sum())
    return f"it draws other masks in {wrong} of {engine.layout.groups} groups" if wrong else None


def _on_cpu(draw: Draw) -> Draw:
    return Draw(draw.key, draw.groups_g.cpu(), draw.masks_gM.cpu())


def _layout(pattern: Pattern) -> GroupLayout:
    layers = [PrunableLayer(f"layer {place}", 0, groups, pattern.m) for place, groups in enumerate(_GROUPS)]
    return GroupLayout(layers, pattern=pattern)


def _logits(layout: GroupLayout) -> Tensor:
    """Return groups from flat to certain, float32 [G, M], always the same."""
    draw = torch.Generator().manual_seed(_SEED)
    scale_G1 = 8 * torch.rand(layout.groups, 1, generator=draw) ** 2
    return scale_G1 * torch.randn(layout.groups, layout.pattern.m, generator=draw)

"""Whether the engines are right on a device; the first part of `gpu.py`.

Legend: G groups, M group size.
"""

import itertools
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec
from nmlab.trials.engines import Engine, GroupLayout, MaskKey, store_of
from nmlab.trials.engines.event import EventEngine
from nmlab.trials.engines.triton import TritonEngine, launch
from nmlab.trials.engines.triton.tables import LayerTables
from nmlab.trials.masks.codes import encode
from nmlab.trials.masks.plackett_luce import log_prob, score
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.models import MaskedModel, PrunableLayer
from nmlab.trials.testing.small import small_replica

ENGINES: dict[str, Callable[..., Engine]] = {"triton": TritonEngine, "event": EventEngine}
FAMILIES = {"flat": [0.0], "two levels": [2.0, 0.0], "ramp": [3.0, 1.5, 0.0, -1.5], "cold": [7.0, 7.0, 0.0, 0.0]}
LEAST_P = 1e-4


Row = dict[str, object]


def row(name: str, value: float | None, *, unit: str = "", aim: str = "", holds: bool | None = None) -> Row:
    """Return one line of the record; ``value`` None where it could not be had, which ``aim`` then explains."""
    return {"name": name, "value": None if value is None else float(value), "unit": unit, "aim": aim, "holds": holds}


def correctness(device: torch.device, *, small: bool) -> Iterator[Callable[[], Row]]:
    """Yield the checks; each returns its row when it is called."""
    groups = 1_000 if small else 2_000_000

    def likelihood(name: str, pattern: str, family: str) -> Row:
        p = chi_square(name, pattern, FAMILIES[family], groups, device)
        return row(f"chi-square, {name}, {pattern}, {family}", p, unit="p", aim=f"> {LEAST_P}", holds=p > LEAST_P)

    for name in ENGINES:
        for pattern in ("1:4", "2:4", "4:8"):
            yield partial(gradient, name, pattern, device, small=small)
            for family in FAMILIES:
                yield partial(likelihood, name, pattern, family)
        yield partial(tail, name, device, small=small)
        yield partial(same_masks, name, device, small=small)
    yield partial(frozen_weights, device)
    for name in ("susi", "maskllm"):
        yield partial(determinism, name, device)


def make(name: str, logits_GM: Tensor, pattern: str, *, kind: str = "float32") -> Engine:
    layout = one_layer(len(logits_GM), pattern)
    return ENGINES[name](layout, store=store_of(layout, logits_GM, kind=kind))


def one_layer(groups: int, pattern: str, *, name: str = "blocks.0.q") -> GroupLayout:
    parsed = Pattern.parse(pattern)
    return GroupLayout([PrunableLayer(name, 0, groups, parsed.m)], pattern=parsed)


def chi_square(name: str, pattern: str, values: list[float], groups: int, device: torch.device) -> float:
    """Return the p-value of the masks of groups that have the same logits; rare masks count as one class."""
    parsed = Pattern.parse(pattern)
    logits_M = torch.tensor(values).repeat(parsed.m)[: parsed.m].to(device)
    engine = make(name, logits_M.repeat(groups, 1), pattern)
    found, counts = encode(engine.sample(MaskKey(7, 0)).over(engine.mode())).long().unique(return_counts=True)
    kept = torch.tensor(list(itertools.combinations(range(parsed.m), parsed.n)), device=device)
    masks = torch.zeros(len(kept), parsed.m, dtype=torch.bool, device=device).scatter_(1, kept, True)
    expected = log_prob(logits_M.double().repeat(len(masks), 1), masks).exp() * groups
    observed = torch.zeros_like(expected)
    place = {int(code): index for index, code in enumerate(encode(masks).long())}
    for code, count in zip(found.tolist(), counts.tolist(), strict=True):
        observed[place[code]] = count
    often = expected >= 5
    observed = torch.cat([observed[often], observed[~often].sum().view(1)])
    expected = torch.cat([expected[often], expected[~often].sum().view(1)]).clamp(min=1e-9)
    used = (expected > 0.5) | (observed > 10)
    statistic = float(((observed - expected) ** 2 / expected)[used].sum())
    half = torch.tensor([max(1, int(used.sum()) - 1) / 2, statistic / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))  # what the statistic exceeds by chance: scipy is not needed


def tail(name: str, device: torch.device, *, small: bool) -> Row:
    """Compare how often 2:4 groups deviate at C = 14 (4 in a small run) with the exact rate."""
    magnitude, groups, steps = (4.0, 3_000, 2) if small else (14.0, 2**26, 160)
    logits_GM = torch.tensor([magnitude, magnitude, 0.0, 0.0], device=device).repeat(groups, 1)
    modal_M = torch.tensor([[True, True, False, False]], device=device)
    rate = -float(torch.expm1(log_prob(logits_GM[:1].double(), modal_M)))
    engine = make(name, logits_GM, "2:4")
    seen = sum(len(engine.sample(MaskKey(3, step)).groups_g) for step in range(steps))
    expected = rate * groups * steps
    room = max(0.01, 4 / expected**0.5)
    return row(f"deviations at C = {magnitude:g}, {name}, of {expected:.0f} expected", seen / expected,
               unit="ratio", aim=f"1 +- {room:.3f}", holds=abs(seen / expected - 1) < room)  # fmt: skip


def gradient(name: str, pattern: str, device: torch.device, *, small: bool) -> Row:
    """Return the largest error of a move by two masks against the float64 score, in units of an ulp of the logit."""
    parsed, groups = Pattern.parse(pattern), 500 if small else 3_000
    draw = torch.Generator().manual_seed(0)
    scale_G1 = 12 * torch.rand(groups, 1, generator=draw) ** 2
    logits_GM = (scale_G1 * torch.randn(groups, parsed.m, generator=draw)).to(device)
    engine = make(name, logits_GM.clone(), pattern)
    draws = [engine.sample(MaskKey(1, 0, index)) for index in range(2)]
    masks = [each.over(engine.mode()) for each in draws]
    engine.descend(draws, weights=[0.5, -0.25], rate=1.0)
    wanted_GM = logits_GM.double()
    for mask_GM, weight in zip(masks, (0.5, -0.25), strict=True):
        wanted_GM = wanted_GM - weight * score(logits_GM.double(), mask_GM, n=parsed.n)
    error_GM = (engine.logits().double() - wanted_GM).abs() / (2.0**-23 * logits_GM.abs().amax(1, keepdim=True) + 1e-6)
    worst = float(error_GM.max())
    return row(f"gradient, {name}, {pattern}", worst, unit="ulp", aim="< 4", holds=worst < 4)


def same_masks(name: str, device: torch.device, *, small: bool) -> Row:
    """Count how many of four ways to the same mask differ: again, alone on a shard, on another engine, reloaded."""
    groups = 600 if small else 300_000
    logits_GM = 3 * torch.randn(groups, 4, generator=torch.Generator().manual_seed(2)).to(device)
    layers = [PrunableLayer(f"blocks.{block}.q", block, groups // 2, 4) for block in range(2)]
    whole = GroupLayout(layers, pattern=Pattern(2, 4))
    engine, other = (ENGINES[name](whole, store=store_of(whole, logits_GM)) for _ in range(2))
    shard = GroupLayout(layers[1:], pattern=whole.pattern)
    alone = ENGINES[name](shard, store=store_of(shard, logits_GM[groups // 2 :]))
    key = MaskKey(5, 3)
    first = engine.sample(key)
    over = first.over(engine.mode())
    wrong = int(not torch.equal(engine.sample(key).over(engine.mode()), over))
    wrong += int(not torch.equal(alone.sample(key).over(alone.mode()), over[groups // 2 :]))
    wrong += int(not torch.equal(other.sample(key).over(other.mode()), over))
    engine.descend([first], weights=[0.5], rate=1.0)
    other.load_state(engine.state())
    ahead, made = engine.sample(MaskKey(5, 4)), other.sample(MaskKey(5, 4))
    wrong += int(not torch.equal(ahead.over(engine.mode()), made.over(other.mode())))
    return row(f"masks that differ though their key is the same, {name}", wrong, aim="0", holds=wrong == 0)


def frozen_weights(device: torch.device) -> Row:
    """Patch masked copies of a model's weights and count the frozen weights that changed and the wrong masked ones."""
    layout = GroupLayout([PrunableLayer(f"l{i}", 0, 64, 32) for i in range(3)], pattern=Pattern(2, 4))
    dense = [torch.randn(64, 32, device=device).bfloat16() for _ in layout.layers]
    before, masked = torch.cat(dense).clone(), [torch.zeros_like(weight) for weight in dense]
    engine = make("triton", 2 * torch.randn(layout.groups, 4, device=device), "2:4")
    mask_GM = engine.sample(MaskKey(0, 0)).over(engine.mode())
    tables = LayerTables(layout, device=device, span=1)
    launch.patch(tables, torch.arange(layout.groups, device=device), mask_GM, dense=dense, masked=masked)
    wrong = int((torch.cat(dense) != before).sum())
    wrong += int((torch.cat(masked) != before * mask_GM.view_as(before)).sum())
    return row("frozen weights changed, or masked ones wrong", wrong, aim="0", holds=wrong == 0)


def determinism(method_name: str, device: torch.device) -> Row:
    """Run three steps of a gradient method twice and count the tensors of its state that differ."""
    states = []
    for _ in range(2):
        replica = small_replica()
        replica.frozen.module.to(device)
        calibration = CalibrationSpec(source="builtin:python-docs", samples=8, sequence_length=16, batch_size=4)
        context = TrialContext(replica, MaskedModel(replica.frozen), Pattern(2, 4), calibration, seed=0)
        method = registry.get(method_name)
        run = method.start(context, method.configure({"steps": 3}))
        for step in range(3):
            run.step(step)
        states.append({name: tensor.clone() for name, tensor in run.state().items()})
    differ = sum(not torch.equal(states[0][name], states[1][name]) for name in states[0])
    return row(f"tensors that differ between two runs, {method_name}", differ, aim="0", holds=differ == 0)

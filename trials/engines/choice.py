"""Which engine a run gets: the one it names, or the one that suits its pattern, its logits and its device.

The choice depends on the pattern, the logit magnitude, the device and the size of single layers, never on timing or on
how many layers this process holds, so that all shards of a model make the same one. Kernels are chosen only where they
compute on this device what torch computes, which `triton.selfcheck` finds out once a process.
"""

from collections.abc import Callable

import torch

from nmlab.trials.engines.adaptive import SMALL, AdaptiveEngine
from nmlab.trials.engines.engine import Engine
from nmlab.trials.engines.event.engine import EventEngine
from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.engines.linear import LinearEngine, Score
from nmlab.trials.engines.logits import LogitStore
from nmlab.trials.engines.reference import ReferenceEngine
from nmlab.trials.engines.triton import TritonEngine, unavailable
from nmlab.trials.masks import deviation
from nmlab.trials.masks.codes import decode
from nmlab.trials.names import unknown_name
from nmlab.trials.pattern import Pattern

# What kernels do wrong on a device, for a pattern and a kind of store, in a few words; None where they are right.
Check = Callable[[torch.device, Pattern, str], str | None]

ENGINES = ("auto", "reference", "linear", "event", "triton")

# Share of groups that deviate above which a GPU rather touches all of them in order. An estimate: no GPU was measured.
_HOT_ON_GPU = 0.01


def check_kernels(device: torch.device, pattern: Pattern, kind: str) -> str | None:
    """Compare the Triton kernels with torch on a device; see ``triton.selfcheck.kernel_fault``."""
    from nmlab.trials.engines.triton.selfcheck import kernel_fault

    return kernel_fault(device, pattern=pattern, kind=kind)


def make_engine(
    name: str,
    *,
    layout: GroupLayout,
    store: LogitStore,
    sampler: str = "multinomial",
    score: Score | None = None,
    check: Check = check_kernels,
    agree: Callable[[bool], bool] = bool,
    note: Callable[[str], None] = lambda line: None,
) -> Engine:
    """Start an engine on the logits in ``store``.

    ``auto`` takes the engine that touches the least: `adaptive` where it can, `triton` on a GPU whose groups deviate
    often, `linear` where masks are drawn or moved in another way than the exact one and where all layers are small.
    Where the kernels fail their ``check``, it takes the torch engine that it would take without them, and ``note`` is
    told so. ``agree`` says whether any worker that holds a part of the model found a fault, given whether this one did.

    Raises ``ValueError`` for an unknown name, and where the engine named cannot do what is asked, with the reason.
    """
    if name not in ENGINES:
        raise ValueError(unknown_name(name, kind="engine", known=ENGINES))
    if name == "auto":
        name = suited(layout, store, sampler=sampler, score=score, check=check, agree=agree, note=note)
    if name == "linear":
        return LinearEngine(layout, store=store, sampler=sampler, score=score)
    if sampler != "multinomial" or score is not None:
        asked = f"sampler {sampler!r}" if sampler != "multinomial" else "another score than the exact one"
        raise ValueError(f"engine {name!r} cannot do {asked}; choose engine 'linear'")
    return _exact(name, layout, store)


def _exact(name: str, layout: GroupLayout, store: LogitStore) -> Engine:
    if name == "reference":
        return ReferenceEngine(layout, logits_GM=store.read(slice(None)))
    if name == "triton":
        return TritonEngine(layout, store=store)
    return EventEngine(layout, store=store) if name == "event" else AdaptiveEngine(layout, store=store)


def suited(
    layout: GroupLayout,
    store: LogitStore,
    *,
    sampler: str = "multinomial",
    score: Score | None = None,
    check: Check = check_kernels,
    agree: Callable[[bool], bool] = bool,
    note: Callable[[str], None] = lambda line: None,
) -> str:
    """Return the name of the engine that ``auto`` means; see ``make_engine``."""
    n, m = layout.pattern.n, layout.pattern.m
    if sampler != "multinomial" or score is not None or n == m:
        return "linear"
    in_torch = _in_torch(layout)
    if store.device.type != "cuda" or unavailable(store.device) is not None:
        return in_torch
    if n <= deviation.LARGEST_N and _deviating_at_first(layout, store) <= _HOT_ON_GPU:
        return in_torch
    fault = check(store.device, layout.pattern, store.name)
    if not agree(fault is not None):
        return "triton"
    told = f"on {store.device} they fail their check: {fault}" if fault else "they fail their check at another worker"
    note(f"engine auto: {in_torch} in place of the Triton kernels; {told}")
    return in_torch


def _in_torch(layout: GroupLayout) -> str:
    """Return the engine that suits a layout and needs no kernels."""
    if layout.pattern.n > deviation.LARGEST_N:
        return "linear"
    small = all(layout.pattern.groups(layer.numel) < SMALL for layer in layout.layers)
    return "linear" if small else "adaptive"


def _deviating_at_first(layout: GroupLayout, store: LogitStore) -> float:
    """Probability that a group deviates at the start, where all groups are C on kept weights and 0 on the others."""
    kept_1M = decode(store.initial_G[:1], layout.pattern.m)
    logits_1M = torch.mul(kept_1M, store.magnitude)
    return float(deviation.probability(logits_1M, kept_1M, n=layout.pattern.n))

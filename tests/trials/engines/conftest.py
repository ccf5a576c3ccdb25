"""The engines that every test of `test_engine_*.py` runs on, and a few small layouts.

A new engine is one more line of ``ENGINES``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pytest
import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import Engine, GroupLayout, LinearEngine, ReferenceEngine, store_of
from nmlab.trials.masks import deviation
from nmlab.trials.models import PrunableLayer

LAYERS = [
    PrunableLayer("blocks.0.q", 0, 12, 32),
    PrunableLayer("blocks.0.up", 0, 48, 64),
    PrunableLayer("blocks.1.q", 1, 7, 96),
    PrunableLayer("blocks.1.up", 1, 48, 64),
]


@dataclass(frozen=True)
class Maker:
    """How to start an engine from logits, up to which N, and how far its logits may be from a float64 step.

    ``rounding`` is relative to the largest logit or move: half a unit in the last place.
    """

    start: Callable[[GroupLayout, Tensor], Engine]
    largest_n: int = 32
    rounding: float = 2.0**-24

    def __call__(self, layout: GroupLayout, logits_GM: Tensor) -> Engine:
        if layout.pattern.n > self.largest_n:
            pytest.skip(f"for N <= {self.largest_n}")
        return self.start(layout, logits_GM)


def _linear(layout, logits_GM, *, kind="float32", **options):
    return LinearEngine(layout, store=store_of(layout, logits_GM, kind=kind), **options)


def _event(layout, logits_GM):
    from nmlab.trials.engines.event import EventEngine

    return EventEngine(layout, store=store_of(layout, logits_GM))


def _adaptive(layout, logits_GM):
    from nmlab.trials.engines.adaptive import AdaptiveEngine

    return AdaptiveEngine(layout, store=store_of(layout, logits_GM))


ENGINES = {
    "reference": Maker(lambda layout, logits_GM: ReferenceEngine(layout, logits_GM=logits_GM)),
    "linear": Maker(_linear),
    "linear-racing": Maker(partial(_linear, sampler="gumbel_topk")),
    "linear-bfloat16": Maker(partial(_linear, kind="bfloat16_delta"), rounding=2.0**-8),
    "event": Maker(_event, largest_n=deviation.LARGEST_N),
    "adaptive": Maker(_adaptive, largest_n=deviation.LARGEST_N),
}


@pytest.fixture(params=ENGINES)
def make(request) -> Maker:
    """Starts an engine of each kind: make(layout, logits_GM)."""
    return ENGINES[request.param]


@pytest.fixture
def start_engine() -> Callable[[str, GroupLayout, Tensor], Engine]:
    """Starts the engine of a name: start_engine("event", layout, logits_GM)."""
    return lambda name, layout, logits_GM: ENGINES[name](layout, logits_GM)


@pytest.fixture
def layout_of() -> Callable[..., GroupLayout]:
    """layout_of("2:4") holds four small layers, layout_of("2:4", groups=1000) one layer of so many groups."""

    def build(pattern, *, layers=None, groups=None):
        pattern = Pattern.parse(pattern)
        if groups is not None:
            layers = [PrunableLayer("layer", 0, groups, pattern.m)]
        return GroupLayout(LAYERS if layers is None else layers, pattern=pattern)

    return build


@pytest.fixture
def logits_by_layer() -> Callable[..., Tensor]:
    """Random logits [G, M] of a layout that depend on each layer and not on which others there are."""

    def draw(layout, *, spread=2.0):
        return layout.join(
            {
                layer.name: spread
                * torch.randn(layer.out_features, layer.in_features, generator=torch.Generator().manual_seed(i))
                for i, layer in enumerate(LAYERS)
                if layer in layout.layers
            }
        )

    return draw

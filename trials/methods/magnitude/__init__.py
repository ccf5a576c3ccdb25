"""Keep the N largest weights of every M."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nmlab.trials.methods.base import About, Method, MethodConfig, Run
from nmlab.trials.methods.one_shot import OneShotRun

if TYPE_CHECKING:
    from torch import Tensor

    from nmlab.trials.methods.base import TrialContext


def scores(weight: Tensor) -> Tensor:
    """Return |W|, float32, the shape of ``weight``."""
    return weight.detach().float().abs()


class Magnitude(Method):
    name = "magnitude"
    about = About(
        "Keeps the N weights of largest absolute value in every M.\n"
        "Needs no text; the worst of the rules on most models, and the cheapest.",
        paper="Han et al. 2015",
        cost="one pass over the weights",
    )
    reads_text = False
    supports_pipeline_stages = True
    imports = ("nmlab.trials.masks.topn",)

    def start(self, context: TrialContext, config: MethodConfig) -> Run:
        from nmlab.trials.masks.topn import topn

        return OneShotRun({layer: topn(score, context.pattern) for layer, score in _scored(context)})

    def saliency(self, context: TrialContext, config: MethodConfig) -> dict[str, Tensor]:
        return dict(_scored(context))


def _scored(context: TrialContext) -> Iterator[tuple[str, Tensor]]:
    module = context.model.frozen.module
    for layer in context.model.frozen.layers:
        yield layer.name, scores(module.get_parameter(f"{layer.name}.weight"))


METHOD = Magnitude()

__all__ = ["METHOD", "Magnitude", "scores"]

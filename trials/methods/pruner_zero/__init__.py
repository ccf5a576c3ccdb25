"""Keep the N weights of every M with the largest score that a symbolic search found (Dong et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from nmlab.trials.methods.base import About, Method, Run
from nmlab.trials.methods.one_shot import OneShotRun
from nmlab.trials.methods.pruner_zero.config import PrunerZeroConfig

if TYPE_CHECKING:
    from torch import Tensor

    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.models.needs import Needs, Shape


def scores(weight: Tensor, grad_norm: Tensor) -> Tensor:
    """Return W^2 (g - min g) / (max g - min g), float32 [out, in]; minimum and maximum are those of the whole matrix.

    g [out, in] is the root of the sum over sequences of squared gradients; its scale does not matter. Where all of g is
    one number it does not distinguish weights, and the score is W^2.
    """
    square, norm = weight.detach().float().square(), grad_norm.float()
    least, most = norm.aminmax()
    return square * ((norm - least) / (most - least)) if bool(most > least) else square


class PrunerZero(Method):
    name = "pruner_zero"
    about = About(
        "Keeps the N weights of largest weight^2 x gradient norm (min-max normalised over the matrix) in every M.\n"
        "Gradients are those of the dense model, gathered once for all trials; no layer inputs are needed.",
        paper="Dong et al. 2024, Pruner-Zero, arXiv:2406.02924",
        cost="a forward and a backward pass for each calibration sequence",
    )

    config = PrunerZeroConfig
    supports_pipeline_stages = True
    imports = ("nmlab.trials.inputs.gradients", "nmlab.trials.masks.topn")

    def needs(self, shape: Shape, config: PrunerZeroConfig) -> Needs:
        from nmlab.trials.models.needs import FLOAT32, one_shot_needs, shared_norms

        return one_shot_needs(shape, start=FLOAT32 * shape.prunable, start_reads=3, shared=shared_norms(shape))

    def start(self, context: TrialContext, config: PrunerZeroConfig) -> Run:
        from nmlab.trials.masks.topn import topn

        return OneShotRun({layer: topn(score, context.pattern) for layer, score in _scored(context, config)})

    def saliency(self, context: TrialContext, config: PrunerZeroConfig) -> dict[str, Tensor]:
        return dict(_scored(context, config))


def _scored(context: TrialContext, config: PrunerZeroConfig) -> Iterator[tuple[str, Tensor]]:
    from nmlab.trials.inputs.gradients import gradient_norms, in_precision_of

    frozen, norms = context.model.frozen, gradient_norms(context)
    for layer in frozen.layers:
        weight = frozen.module.get_parameter(f"{layer.name}.weight")
        yield layer.name, scores(weight, in_precision_of(norms[layer.name], compat=config.compat).to(weight.device))


METHOD = PrunerZero()

__all__ = ["METHOD", "PrunerZero", "PrunerZeroConfig", "scores"]

"""Keep the N weights of every M whose magnitude times input norm is largest (Sun et al. 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmlab.trials.methods.base import About, Method, MethodConfig, Run
from nmlab.trials.methods.one_shot import OneShotRun

if TYPE_CHECKING:
    from torch import Tensor

    from nmlab.trials.inputs.statistics import SquareMean
    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.models import PrunableLayer
    from nmlab.trials.models.needs import Needs, Shape


def scores(weight: Tensor, input_square_mean: Tensor) -> Tensor:
    """Return |W_ij| sqrt(a_j), float32 [out, in]; a_j [in] is the mean over sequences of summed squared inputs."""
    return weight.detach().float().abs() * input_square_mean.float().sqrt()


class Wanda(Method):
    name = "wanda"
    about = About(
        "Keeps the N weights of largest |weight| x input norm in every M, block after block.\n"
        "A block's inputs come from pruned predecessors; it is itself dense while they are measured.",
        paper="Sun et al. 2023, arXiv:2306.11695",
        cost="two forward passes over the calibration text",
    )
    measures_inputs = True
    supports_pipeline_stages = True
    imports = ("nmlab.trials.inputs.calibration", "nmlab.trials.inputs.statistics", "nmlab.trials.masks.topn")

    def needs(self, shape: Shape, config: MethodConfig) -> Needs:
        from nmlab.trials.models.needs import one_shot_needs, statistics_bytes

        return one_shot_needs(shape, start=statistics_bytes(shape), start_reads=2)

    def start(self, context: TrialContext, config: MethodConfig) -> Run:
        return OneShotRun(_prune(context))

    def saliency(self, context: TrialContext, config: MethodConfig) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        _prune(context, into=found)
        return found


def _prune(context: TrialContext, *, into: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return all masks; the scores by which they were chosen go ``into`` a dictionary, if one is given."""
    from nmlab.trials.inputs.calibration import prune_blocks
    from nmlab.trials.inputs.statistics import SquareMean
    from nmlab.trials.masks.topn import topn

    frozen = context.model.frozen

    def mask_of(layer: PrunableLayer, statistic: SquareMean) -> Tensor:
        score = scores(frozen.module.get_parameter(f"{layer.name}.weight"), statistic.mean_I)
        if into is not None:
            into[layer.name] = score
        return topn(score, context.pattern)

    return prune_blocks(
        context.model,
        context.batches,
        statistic=lambda layer: SquareMean(layer, device=frozen.device),
        mask_of=mask_of,
        cost=context.cost,
    )


METHOD = Wanda()

__all__ = ["METHOD", "Wanda", "scores"]

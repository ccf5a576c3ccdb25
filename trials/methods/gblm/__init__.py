"""Keep the N weights of every M whose magnitude times (input norm + gradient norm) is largest (Das et al. 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmlab.trials.methods.base import About, Method, Run
from nmlab.trials.methods.gblm.config import GBLMConfig
from nmlab.trials.methods.one_shot import OneShotRun, masks_by_score

if TYPE_CHECKING:
    from torch import Tensor

    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.models import PrunableLayer
    from nmlab.trials.models.needs import Needs, Shape


def scores(weight: Tensor, input_square_mean: Tensor, grad_norm: Tensor) -> Tensor:
    """Return |W_ij| (sqrt(a_j) + g_ij), float32 [out, in].

    a_j [in] is the mean over sequences of summed squared inputs; g_ij [out, in] the root of the sum over sequences of
    squared gradients, each times the gradient scale (100 in the authors' code).
    """
    return weight.detach().float().abs() * (input_square_mean.float().sqrt() + grad_norm.float())


class GBLM(Method):
    name = "gblm"
    about = About(
        "Keeps the N weights of largest |weight| x (input norm + gradient norm) in every M, block after block.\n"
        "Gradients are those of the dense model, gathered once for all trials.",
        paper="Das et al. 2023, GBLM-Pruner, arXiv:2311.04902",
        cost="two forward passes over the calibration text, and a forward and a backward for each of its sequences",
    )
    config = GBLMConfig
    measures_inputs = True
    supports_pipeline_stages = True
    imports = (
        "nmlab.trials.inputs.calibration",
        "nmlab.trials.inputs.gradients",
        "nmlab.trials.inputs.statistics",
        "nmlab.trials.masks.topn",
    )

    def needs(self, shape: Shape, config: GBLMConfig) -> Needs:
        from nmlab.trials.models.needs import FLOAT32, one_shot_needs, shared_norms, statistics_bytes

        # The squares while they are gathered, beside the norms that the replica then shares.
        start = FLOAT32 * shape.prunable + statistics_bytes(shape)
        return one_shot_needs(shape, start=start, start_reads=5, shared=shared_norms(shape))

    def start(self, context: TrialContext, config: GBLMConfig) -> Run:
        return OneShotRun(_prune(context, config))

    def saliency(self, context: TrialContext, config: GBLMConfig) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        _prune(context, config, into=found)
        return found


def _prune(context: TrialContext, config: GBLMConfig, *, into: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return all masks; the scores by which they were chosen go ``into`` a dictionary, if one is given."""
    from nmlab.trials.inputs.gradients import SCALE, gradient_norms, in_precision_of

    norms, factor = gradient_norms(context), config.gradient_scale / SCALE

    def score(layer: PrunableLayer, weight: Tensor, square_mean: Tensor) -> Tensor:
        norm = in_precision_of(norms[layer.name], compat=config.compat).to(weight.device)
        return scores(weight, square_mean, norm * factor)

    return masks_by_score(context, score=score, into=into)


METHOD = GBLM()

__all__ = ["GBLM", "METHOD", "GBLMConfig", "scores"]

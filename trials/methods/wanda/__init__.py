"""Keep the N weights of every M whose magnitude times input norm is largest (Sun et al. 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmlab.trials.methods.base import About, Method, MethodConfig, Run
from nmlab.trials.methods.one_shot import OneShotRun, masks_by_score

if TYPE_CHECKING:
    from torch import Tensor

    from nmlab.trials.methods.base import TrialContext
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
    return masks_by_score(context, score=lambda _, weight, square_mean: scores(weight, square_mean), into=into)


METHOD = Wanda()

__all__ = ["METHOD", "Wanda", "scores"]

"""SparseGPT: prune by the inverse Hessian and update the weights that stay (Frantar and Alistarh 2023)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nmlab.trials.contract.lazy_names import lazy_names
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods.base import About, Method, Run
from nmlab.trials.methods.one_shot import OneShotRun
from nmlab.trials.methods.sparsegpt.config import SparseGPTConfig, unsupported_block_size_reason

if TYPE_CHECKING:
    from torch import Tensor

    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.methods.sparsegpt.maths import IndefiniteHessianError, prune
    from nmlab.trials.methods.sparsegpt.run import prune_model
    from nmlab.trials.models.needs import Needs, Shape

__getattr__ = lazy_names(__name__, places={"IndefiniteHessianError": "maths", "prune": "maths", "prune_model": "run"})


class SparseGPT(Method):
    name = "sparsegpt"
    about = About(
        "Prunes columns from left to right and updates the weights that stay, block after block.\n"
        "The weights are not the model's own any more; an initial mask takes the mask alone.",
        paper="Frantar and Alistarh 2023, arXiv:2301.00774",
        cost="two forward passes over the calibration text; an in x in matrix and its Cholesky factor for each layer",
        patterns="any N:M with M a divisor of block_size",
    )
    config = SparseGPTConfig
    measures_inputs = True
    supports_pipeline_stages = True
    imports = ("nmlab.trials.methods.sparsegpt.run",)

    def unsupported_reason(self, pattern: Pattern, config: SparseGPTConfig) -> str | None:
        return unsupported_block_size_reason(config.block_size, pattern)

    def needs(self, shape: Shape, config: SparseGPTConfig) -> Needs:
        from nmlab.trials.models.needs import FLOAT32, one_shot_needs, statistics_bytes

        # A sum, the Hessian made of it, and its factor, each in x in, for the layers of a block that share no inputs.
        hessians = 3 * FLOAT32 * max(layer.in_features for layer in shape.layers) ** 2
        start = statistics_bytes(shape) + hessians + shape.weight_bytes
        needs = one_shot_needs(shape, start=start, start_reads=3)
        return replace(needs, state={**needs.state, "updated weights": shape.weight_bytes})

    def start(self, context: TrialContext, config: SparseGPTConfig) -> Run:
        from nmlab.trials.methods.sparsegpt.run import prune_model

        masks, weights = prune_model(context, config)
        return OneShotRun(masks, weights=weights)

    def group_scores(self, context: TrialContext, config: SparseGPTConfig) -> dict[str, Tensor]:
        from nmlab.trials.methods.sparsegpt.run import prune_model

        found: dict[str, Tensor] = {}
        prune_model(context, config, into=found)
        return found


METHOD = SparseGPT()

__all__ = ["METHOD", "IndefiniteHessianError", "SparseGPT", "SparseGPTConfig", "prune", "prune_model"]

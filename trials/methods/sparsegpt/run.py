"""SparseGPT on a whole model, block after block."""

from dataclasses import replace

import torch
from torch import Tensor

from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.inputs.calibration import SecondMoment, visit_blocks
from nmlab.trials.methods.base import About, Method, Run, TrialContext
from nmlab.trials.methods.one_shot import OneShotRun
from nmlab.trials.methods.sparsegpt.config import SparseGPTConfig
from nmlab.trials.methods.sparsegpt.maths import IndefiniteHessianError, prune, unsupported_block_size_reason
from nmlab.trials.models import PrunableLayer
from nmlab.trials.models.needs import FLOAT32, Needs, Shape, one_shot_needs, statistics_bytes

# With damping the size of the mean diagonal any Hessian of finite inputs has a factor; far beyond, something is wrong.
_LARGEST_DAMPING = 100.0


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

    def unsupported_reason(self, pattern: Pattern, config: SparseGPTConfig) -> str | None:
        return unsupported_block_size_reason(config.block_size, pattern)

    def needs(self, shape: Shape, config: SparseGPTConfig) -> Needs:
        # A sum, the Hessian made of it, and its factor, each in x in, for the layers of a block that share no inputs.
        hessians = 3 * FLOAT32 * max(layer.in_features for layer in shape.layers) ** 2
        start = statistics_bytes(shape) + hessians + shape.weight_bytes
        needs = one_shot_needs(shape, start=start, start_reads=3)
        return replace(needs, state={**needs.state, "updated weights": shape.weight_bytes})

    def start(self, context: TrialContext, config: SparseGPTConfig) -> Run:
        masks, weights = prune_model(context, config)
        return OneShotRun(masks, weights=weights)


def prune_model(context: TrialContext, config: SparseGPTConfig) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return masks and updated weights [out, in] of all layers; each block is measured behind updated ones.

    A layer whose Hessian cannot be factored gets ten times the damping until it can, which ``context.notes`` says.
    Raises ``DivergedError`` if a layer's inputs are not finite.
    """
    assert torch.get_float32_matmul_precision() == "highest", "a Hessian of TensorFloat-32 products is too coarse"
    frozen = context.model.frozen
    masks: dict[str, Tensor] = {}
    weights: dict[str, Tensor] = {}

    def apply(layer: PrunableLayer, moment: SecondMoment) -> None:
        weight, hessian = frozen.module.get_parameter(f"{layer.name}.weight"), moment.hessian_II
        if not bool(hessian.isfinite().all()):
            raise DivergedError(f"the calibration inputs of {layer.name} are not finite")
        masks[layer.name], weights[layer.name], damping = _prune_layer(weight, hessian, context.pattern, config=config)
        if damping != config.damping:
            context.notes.append(f"the Hessian of {layer.name} needed damping {damping:g}, not {config.damping:g}")
        context.model.apply_masks({layer.name: masks[layer.name]}, weights_OI=weights)

    visit_blocks(
        context.model,
        context.batches,
        statistic=lambda layer: SecondMoment(layer, device=frozen.device),
        apply=apply,
        cost=context.cost,
    )
    return masks, weights


def _prune_layer(
    weight: Tensor, hessian: Tensor, pattern: Pattern, *, config: SparseGPTConfig
) -> tuple[Tensor, Tensor, float]:
    """Return mask, updated weight, and the damping it took."""
    damping = config.damping
    while True:
        try:
            return *prune(weight, hessian, pattern, damping=damping, block_size=config.block_size), damping
        except IndefiniteHessianError:
            if damping >= _LARGEST_DAMPING:
                raise
            damping *= 10


METHOD = SparseGPT()

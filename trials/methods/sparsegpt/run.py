"""SparseGPT on a whole model, block after block."""

import torch
from torch import Tensor

from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.inputs.calibration import visit_blocks
from nmlab.trials.inputs.statistics import SecondMoment
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.sparsegpt.config import SparseGPTConfig
from nmlab.trials.methods.sparsegpt.maths import IndefiniteHessianError, prune
from nmlab.trials.models import PrunableLayer

# With damping the size of the mean diagonal any Hessian of finite inputs has a factor; far beyond, something is wrong.
_LARGEST_DAMPING = 100.0


def prune_model(
    context: TrialContext, config: SparseGPTConfig, *, into: dict[str, Tensor] | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return masks and updated weights [out, in] of all layers; each block is measured behind updated ones.

    The scores by which weights were chosen go ``into`` a dictionary, if one is given, float32 [out, in] by layer.
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
        scores = None if into is None else into.setdefault(layer.name, torch.empty_like(weight, dtype=torch.float32))
        masks[layer.name], weights[layer.name], damping = _prune_layer(
            weight, hessian, context.pattern, config=config, scores=scores
        )
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
    weight: Tensor, hessian: Tensor, pattern: Pattern, *, config: SparseGPTConfig, scores: Tensor | None
) -> tuple[Tensor, Tensor, float]:
    """Return mask, updated weight, and the damping it took."""
    damping = config.damping
    while True:
        try:
            found = prune(weight, hessian, pattern, damping=damping, block_size=config.block_size, scores=scores)
            return *found, damping
        except IndefiniteHessianError:
            if damping >= _LARGEST_DAMPING:
                raise
            damping *= 10

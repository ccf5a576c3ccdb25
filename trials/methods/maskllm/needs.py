"""What a trial of MaskLLM needs: gates with their Adam moments, and the weights times a soft mask.

Legend: G groups, M group size, K candidates a group.
"""

import torch
from torch import Tensor

from nmlab.trials.methods.logit_needs import initial_mask_needs, saliency_needs, with_pull
from nmlab.trials.methods.maskllm.config import NO_PRIOR, MaskLLMConfig
from nmlab.trials.methods.training_objective.needs import with_objective
from nmlab.trials.models.needs import FLOAT32, Needs, Shape, adamw_state, masked_by

_PASSES_A_GATE = 25.0  # of a step: noise, softmax and back, AdamW; see benchmarks/plan_accuracy.py


def needs(shape: Shape, config: MaskLLMConfig) -> Needs:
    """Return what a trial needs, before anything is loaded."""

    def weights() -> dict[str, Tensor]:
        gate_GK = torch.empty(shape.groups, candidates, requires_grad=True)
        drawn_GK = (gate_GK * config.kappa_init + torch.empty_like(gate_GK)) / config.tau_init
        return masked_by(shape, drawn_GK.softmax(dim=1) @ torch.empty(candidates, shape.pattern.m))

    candidates = shape.pattern.mask_count
    gates = shape.groups * candidates
    passes = _PASSES_A_GATE * candidates / shape.pattern.m
    state, prior = adamw_state(shape, {"gates": gates}), _prior(config, shape)
    found = Needs(
        state,
        masked=shape.weight_bytes,
        start=FLOAT32 * gates + max(FLOAT32 * gates, prior.start),
        weights=weights,
        passes=passes,
        start_reads=prior.start_reads,
        start_weights=prior.start_weights,
        shared=prior.shared,
    )
    return with_objective(with_pull(found, config.start_pull, shape), config.objective, shape)


def _prior(config: MaskLLMConfig, shape: Shape) -> Needs:
    """Return what it takes to find the prior, beside the first gates."""
    if config.initial_mask == NO_PRIOR:
        return Needs()
    if config.initial_logits == "random":
        return initial_mask_needs(shape, config.initial_mask)
    return saliency_needs(shape, config.initial_logits, config.initial_mask)

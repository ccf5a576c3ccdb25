"""What a trial of MaskLLM needs: gates with their Adam moments, and the weights times a soft mask.

Legend: G groups, M group size, K candidates a group.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from nmlab.trials.methods import registry
from nmlab.trials.methods.logit_needs import saliency_needs
from nmlab.trials.methods.maskllm.config import NO_PRIOR, MaskLLMConfig
from nmlab.trials.models.needs import FLOAT32, Needs, Shape, adamw_state, masked_by, shared_start

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
    state = adamw_state(shape, {"gates": gates})
    return Needs(
        state,
        masked=shape.weight_bytes,
        start=2 * FLOAT32 * gates,
        weights=weights,
        passes=passes,
        shared=_shared(config, shape),
    )


def _shared(config: MaskLLMConfig, shape: Shape) -> Mapping[str, int]:
    if config.initial_mask == NO_PRIOR:
        return {}
    if config.initial_logits == "saliency":
        return saliency_needs(shape, config.initial_mask).shared
    method = registry.get(config.initial_mask)
    needed = method.needs(shape, method.configure({}))
    return shared_start(method.name, shape, needs=needed, per_seed=method.depends_on_seed)

"""What a trial of ProxSparse needs: a float32 copy of all parameters with its Adam moments."""

import torch
from torch import Tensor

from nmlab.trials.methods.proxsparse.config import ProxSparseConfig
from nmlab.trials.methods.training_objective.needs import with_objective
from nmlab.trials.models.needs import Needs, Shape, adamw_state

_PASSES = 30.0  # of a step, a parameter: AdamW and the proximal step; see benchmarks/plan_accuracy.py


def needs(shape: Shape, config: ProxSparseConfig) -> Needs:
    """Return what a trial needs, before anything is loaded."""

    def weights() -> dict[str, Tensor]:
        dtype = {2: torch.bfloat16, 4: torch.float32}[shape.element_bytes]
        return {name: torch.empty(size, requires_grad=True).to(dtype) for name, size in shape.sizes.items()}

    passes = _PASSES * sum(shape.parameters.values()) / shape.prunable
    state = adamw_state(shape, shape.parameters)
    found = Needs(state, masked=shape.weight_bytes, weights=weights, passes=passes)
    return with_objective(found, config.objective, shape)

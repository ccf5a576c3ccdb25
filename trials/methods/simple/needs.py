"""What a trial of simple needs: logits with their Adam moments, and the weights times a drawn mask of 0 and 1."""

import torch
from torch import Tensor

from nmlab.trials.methods.logit_needs import start_needs
from nmlab.trials.methods.simple.config import SimpleConfig
from nmlab.trials.models.needs import Needs, Shape, masked_by

# Of a step: noise and AdamW, and for each of the N + 2 counts the draw and the gradient; see
# benchmarks/plan_accuracy.py.
_PASSES, _PASSES_A_COUNT = 20.0, 18.0


def needs(shape: Shape, config: SimpleConfig) -> Needs:
    """Return what a trial needs, before anything is loaded."""

    def weights() -> dict[str, Tensor]:
        logits_GM = torch.empty(shape.groups, shape.pattern.m, requires_grad=True)
        # As a draw does, a sum keeps nothing but the logits for its backward.
        return masked_by(shape, logits_GM + torch.empty_like(logits_GM))

    passes = _PASSES + _PASSES_A_COUNT * (shape.pattern.n + 2)
    return start_needs(shape, config, weights=weights, passes=passes)

"""What a trial of soft_topn needs: logits with their Adam moments, and the weights times a soft mask."""

import torch
from torch import Tensor

from nmlab.trials.methods.logit_needs import start_needs
from nmlab.trials.methods.soft_topn.config import SoftTopNConfig
from nmlab.trials.models.needs import Needs, Shape, masked_by

# Of a step: the soft top-N, AdamW, and the noise where there is any; see benchmarks/plan_accuracy.py.
_PASSES, _PASSES_OF_NOISE = 37.0, 8.0


def needs(shape: Shape, config: SoftTopNConfig) -> Needs:
    """Return what a trial needs, before anything is loaded."""

    def weights() -> dict[str, Tensor]:
        logits_GM = torch.empty(shape.groups, shape.pattern.m, requires_grad=True)
        keys_GM = logits_GM + torch.empty_like(logits_GM) if config.noise == "gumbel" else logits_GM
        # As the soft top-N does, a sigmoid keeps one tensor of the mask's size for its backward.
        return masked_by(shape, keys_GM.sigmoid())

    passes = _PASSES + (_PASSES_OF_NOISE if config.noise == "gumbel" else 0.0)
    return start_needs(shape, config, weights=weights, passes=passes)

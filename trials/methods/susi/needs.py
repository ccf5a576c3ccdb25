"""What a trial of SUSI needs: logits with their Adam moments, and the weights times a relaxed mask."""

import torch
from torch import Tensor

from nmlab.trials.methods.logit_needs import start_needs
from nmlab.trials.methods.susi.config import SusiConfig
from nmlab.trials.methods.susi.maths import relaxed_mask
from nmlab.trials.models.needs import Needs, Shape, masked_by

_PASSES = 40.0  # of a step: noise, the relaxed draw twice, AdamW; see benchmarks/plan_accuracy.py


def needs(shape: Shape, config: SusiConfig) -> Needs:
    """Return what a trial needs, before anything is loaded."""

    def weights() -> dict[str, Tensor]:
        logits_GM = torch.empty(shape.groups, shape.pattern.m, requires_grad=True)
        noise_GM = torch.empty_like(logits_GM)
        mask_GM = relaxed_mask(logits_GM, noise_GM, tau=config.tau_init, lam=config.lambda_init, n=n)
        return masked_by(shape, mask_GM)

    n = shape.pattern.n
    return start_needs(shape, config, weights=weights, passes=_PASSES)

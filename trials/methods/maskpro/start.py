"""The logits that a run of MaskPro starts from, and how often masks drawn from them deviate.

Legend: G groups of all layers, g those of a layer, M group size.
"""

import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout, initial_store, store_of
from nmlab.trials.engines.logits import LogitStore
from nmlab.trials.masks import deviation
from nmlab.trials.masks.plackett_luce import log_prob
from nmlab.trials.masks.topn import topn
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.initial_logits.compute import saliency_logits
from nmlab.trials.methods.initial_logits.maths import logits_of_scores
from nmlab.trials.methods.initial_logits.settings import saliency_name
from nmlab.trials.methods.initial_masks import initial_mask
from nmlab.trials.methods.maskpro.config import MaskProConfig
from nmlab.trials.parallel.pipeline_group import PipelineGroup

_FORECAST_GROUPS = 2048


def first_store(context: TrialContext, config: MaskProConfig, *, layout: GroupLayout) -> LogitStore:
    """Return a store of the first logits; its initial mask is the N largest of every group.

    Constant logits are C on what the initial mask keeps and 0 elsewhere. Those from saliency are C times the logarithm
    of the scores, less its mean in the group; where the method of the initial mask has no scores, C times its mask,
    centred, which draws the same masks as constant logits do.
    """
    magnitude, kind = config.logit_magnitude, config.logits
    if config.initial_logits == "constant":
        mask_GM = layout.join(initial_mask(config.initial_mask, context))
        return initial_store(layout, mask_GM, magnitude=magnitude, kind=kind)
    logits = saliency_logits(saliency_name(config.initial_logits, config.initial_mask), context, unit_spread=False)
    return store_of(layout, layout.join(logits).mul_(magnitude), kind=kind)


def resampled_share(store: LogitStore, *, layout: GroupLayout, pipeline: PipelineGroup) -> float:
    """Return the mean over all groups of the probability that a sampled mask is not the mode, equal on any stages."""
    parts = torch.split(store.read(slice(None)), layout.groups_of_layers)
    sums = [float(deviating(part_gM, pattern=layout.pattern).sum()) for part_gM in parts]
    return pipeline.all_reduce_sum(sums) / pipeline.all_reduce_count(layout.groups)


def expected_share(config: MaskProConfig, *, pattern: Pattern) -> float:
    """Return the share of groups that deviate at the first logits, before any weight is read.

    Exact for constant logits. Those from saliency are estimated by the sizes of normal weights under equal inputs.
    """
    if config.initial_logits == "constant":
        return float(deviating((torch.arange(pattern.m)[None] < pattern.n) * config.logit_magnitude, pattern=pattern))
    generator = torch.Generator().manual_seed(0)
    size_gM = torch.randn(_FORECAST_GROUPS, pattern.m, generator=generator).abs()
    logits_gM = logits_of_scores(size_gM, unit_spread=False).mul_(config.logit_magnitude)
    return float(deviating(logits_gM, pattern=pattern).mean())


def deviating(logits_gM: Tensor, *, pattern: Pattern) -> Tensor:
    """Return the probability that the mask of a group is not the N largest of its logits; [g] float64."""
    mode_gM = topn(logits_gM, pattern)
    if pattern.n == pattern.m:
        return torch.zeros(len(logits_gM), dtype=torch.float64, device=logits_gM.device)
    if pattern.n <= deviation.LARGEST_N:
        return deviation.probability(logits_gM, mode_gM, n=pattern.n)
    return -torch.expm1(log_prob(logits_gM.double(), mode_gM, n=pattern.n))

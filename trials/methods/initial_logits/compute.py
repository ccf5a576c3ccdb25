"""The logits of a start, by layer: from a one-shot method's scores where it has them, from its mask where it has none.

Legend: G groups of all layers, M group size, O outputs, I inputs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from nmlab.trials.engines import GroupLayout
from nmlab.trials.engines.noise import normal
from nmlab.trials.measure.cost import Cost
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import Method, TrialContext
from nmlab.trials.methods.initial_logits.maths import logits_of_mask, logits_of_scores, rearranged
from nmlab.trials.methods.initial_logits.settings import InitialLogits, saliency_name
from nmlab.trials.methods.initial_masks import initial_mask, initial_mask_key
from nmlab.trials.methods.initial_masks.names import initial_mask_method


@dataclass(frozen=True, eq=False)
class SharedScores:
    """The scores of a one-shot method by layer, float32 [out, in] in host memory, with the notes of its computation."""

    scores: Mapping[str, Tensor]
    notes: tuple[str, ...]


def initial_logits(
    context: TrialContext, *, start: InitialLogits, mask: str, spread: float, initial_std: float
) -> Tensor:
    """Return the first logits of all layers [G, M], float32 on the model's device: normal noise, and the saliency.

    The noise has the standard deviation ``initial_std``, keyed by the trial's seed. With the start "saliency" that of
    the one-shot method ``mask`` is added, of the standard deviation ``spread`` in every layer; with "first_order" that
    of the method first_order from ``mask``. The trial is charged for it, whichever trial computed it.
    """
    frozen = context.model.frozen
    layout = GroupLayout(frozen.layers, pattern=context.pattern)
    key = (context.seed, "initial logits")
    logits_GM = normal(layout, width=context.pattern.m, key=key).mul_(initial_std).to(frozen.device)
    if start != "random":
        found = saliency_logits(saliency_name(start, mask), context)
        logits_GM.add_(layout.join(found), alpha=spread)
    return logits_GM


def saliency_logits(name: str, context: TrialContext, *, unit_spread: bool = True) -> dict[str, Tensor]:
    """Return the saliency of the initial mask ``name``, centred in every group and of unit spread in every layer.

    [out, in] by layer on the model's device. A method without ``Method.saliency`` gives two values, by its mask.
    Without ``unit_spread`` they are the logarithms of the scores, or the mask, less their mean in the group.
    """
    device, m = context.model.frozen.device, context.pattern.m
    method, config = initial_mask_method(name)
    if has_saliency(method):
        shared = _shared_scores("saliency", name, partial(method.saliency, config=config), context)
        return {
            layer: logits_of_scores(scores_OI.to(device).view(-1, m), unit_spread=unit_spread).view_as(scores_OI)
            for layer, scores_OI in shared.items()
        }
    masks = initial_mask(name, context)
    return {
        layer: logits_of_mask(mask_OI.view(-1, m), unit_spread=unit_spread).view_as(mask_OI)
        for layer, mask_OI in masks.items()
    }


def group_scores(name: str, context: TrialContext) -> Mapping[str, Tensor]:
    """Return scores whose N largest of every M are the initial mask ``name``: float32 [out, in] by layer.

    They are those of ``Method.group_scores``, and of a method that has none the sizes of the weights, rearranged within
    every group so that they agree with its mask. They lie in host memory or on the model's device.
    """
    method, config = initial_mask_method(name)
    if has_saliency(method):
        return _shared_scores("saliency", name, partial(method.saliency, config=config), context)
    if has_group_scores(method):
        return _shared_scores("group scores", name, partial(method.group_scores, config=config), context)
    module, m = context.model.frozen.module, context.pattern.m
    found = {}
    for layer, mask_OI in initial_mask(name, context).items():
        size_OI = module.get_parameter(f"{layer}.weight").detach().abs()
        found[layer] = rearranged(size_OI.view(-1, m), mask_OI.view(-1, m)).view_as(mask_OI)
    return found


def has_saliency(method: Method) -> bool:
    """Return whether a method gives the scores by which it chooses."""
    return type(method).saliency is not Method.saliency


def has_group_scores(method: Method) -> bool:
    """Return whether a method gives scores that compare at least the weights of one group."""
    return has_saliency(method) or type(method).group_scores is not Method.group_scores


def _shared_scores(
    kind: str, name: str, scores_of: Callable[[TrialContext], Mapping[str, Tensor]], context: TrialContext
) -> Mapping[str, Tensor]:
    """Return the scores of a method, computed once for all trials of a replica; the trial is charged for them."""

    def compute(cost: Cost) -> SharedScores:
        registry.load(initial_mask_method(name)[0].name)
        own = context.for_shared(cost)
        with torch.no_grad():
            scores = scores_of(own)
        return SharedScores({layer: scores_OI.cpu() for layer, scores_OI in scores.items()}, tuple(own.notes))

    shared = context.share((kind, *initial_mask_key(name, context)), compute, initial=True)
    context.notes.extend(note for note in (f"{kind}: {each}" for each in shared.notes) if note not in context.notes)
    return shared.scores

"""The logits of a start, by layer: from a one-shot method's scores where it has them, from its mask where it has none.

Legend: G groups of all layers, M group size, O outputs, I inputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from nmlab.trials.engines import GroupLayout
from nmlab.trials.engines.noise import normal
from nmlab.trials.measure.cost import Cost
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import Method, TrialContext
from nmlab.trials.methods.initial_logits.maths import logits_of_mask, logits_of_scores
from nmlab.trials.methods.initial_logits.settings import InitialLogits
from nmlab.trials.methods.initial_masks import initial_mask, initial_mask_key
from nmlab.trials.models import MaskedModel


@dataclass(frozen=True, eq=False)
class SharedScores:
    """The scores of a one-shot method by layer, float32 [out, in] in host memory, with the notes of its computation."""

    scores: Mapping[str, Tensor]
    notes: tuple[str, ...]


def initial_logits(
    context: TrialContext, *, start: InitialLogits, mask: str, spread: float, initial_std: float
) -> Tensor:
    """Return the first logits of all layers [G, M], float32 on the model's device: normal noise, and the saliency.

    The noise has the standard deviation ``initial_std``, keyed by the trial's seed; with the start "saliency" that of
    the one-shot method ``mask`` is added, of the standard deviation ``spread`` in every layer. The trial is charged for
    it, whichever trial computed it.
    """
    frozen = context.model.frozen
    layout = GroupLayout(frozen.layers, pattern=context.pattern)
    key = (context.seed, "initial logits")
    logits_GM = normal(layout, width=context.pattern.m, key=key).mul_(initial_std).to(frozen.device)
    if start == "saliency":
        logits_GM.add_(layout.join(saliency_logits(mask, context)), alpha=spread)
    return logits_GM


def saliency_logits(name: str, context: TrialContext, *, unit_spread: bool = True) -> dict[str, Tensor]:
    """Return the saliency of the one-shot method ``name``, centred in every group and of unit spread in every layer.

    [out, in] by layer on the model's device. A method without ``Method.saliency`` gives two values, by its mask.
    Without ``unit_spread`` they are the logarithms of the scores, or the mask, less their mean in the group.
    """
    method, frozen, m = registry.load(name), context.model.frozen, context.pattern.m
    if has_saliency(method):
        return {
            layer: logits_of_scores(scores_OI.to(frozen.device).view(-1, m), unit_spread=unit_spread).view_as(scores_OI)
            for layer, scores_OI in _scores(method, context).items()
        }
    masks = initial_mask(name, context)
    return {
        layer: logits_of_mask(mask_OI.view(-1, m), unit_spread=unit_spread).view_as(mask_OI)
        for layer, mask_OI in masks.items()
    }


def has_saliency(method: Method) -> bool:
    """Return whether a method gives the scores by which it chooses."""
    return type(method).saliency is not Method.saliency


def _scores(method: Method, context: TrialContext) -> Mapping[str, Tensor]:
    def compute(cost: Cost) -> SharedScores:
        own = TrialContext(
            replica=context.replica,
            model=MaskedModel(context.replica.frozen, pipeline=context.model.pipeline),
            pattern=context.pattern,
            calibration=context.calibration,
            seed=context.seed,
            cost=cost,
        )
        with torch.no_grad():
            scores = method.saliency(own, method.configure({}))
        return SharedScores({layer: scores_OI.cpu() for layer, scores_OI in scores.items()}, tuple(own.notes))

    shared = context.share(("saliency", *initial_mask_key(method.name, context)), compute, initial=True)
    context.notes.extend(note for note in (f"saliency: {each}" for each in shared.notes) if note not in context.notes)
    return shared.scores

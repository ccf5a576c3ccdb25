"""What a trial of first_order needs: its start, then logits and gradient of all layers, and a backward."""

from dataclasses import replace

import torch
from torch import Tensor

from nmlab.trials.methods.first_order.config import FirstOrderConfig
from nmlab.trials.methods.first_order.maths import split_minibatches
from nmlab.trials.methods.logit_needs import group_scores_needs
from nmlab.trials.models.needs import FLOAT32, PER_SEED, Needs, Shape, masked_by, one_shot_needs

_A_BACKWARD = 3  # a forward and a backward, in forwards
# Bytes an entry of the largest layer while its gradient is ranked: sizes, order, quantiles and scratch of the sort.
_RANKING = 48


def needs(shape: Shape, config: FirstOrderConfig) -> Needs:
    """Return what a trial needs, before anything is loaded."""

    def weights() -> dict[str, Tensor]:
        return masked_by(shape, torch.empty(shape.groups, shape.pattern.m, requires_grad=True))

    base = group_scores_needs(shape, config.initial_mask)
    own = 2 * FLOAT32 * shape.prunable + _RANKING * shape.largest_layer
    per_seed = PER_SEED if any(name.endswith(PER_SEED) for name in base.shared) else ""
    scores = f"scores of first_order {config.model_dump_json()} {shape.pattern}{per_seed}"
    found = one_shot_needs(
        shape,
        start=max(base.start, own),
        start_reads=base.start_reads + _reads(config, shape.minibatches),
        shared={**base.shared, scores: FLOAT32 * shape.prunable},
    )
    return replace(found, start_weights=weights)


def _reads(config: FirstOrderConfig, minibatches: int) -> float:
    """Return how many times the text goes through the model, in forwards of all of its minibatches."""
    read, searched = split_minibatches(minibatches, gradient=config.gradient_batches, search=config.line_search_batches)
    return (_A_BACKWARD * read + (1 + config.kappa_count) * searched) / minibatches

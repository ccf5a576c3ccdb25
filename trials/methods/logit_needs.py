"""What starts from one-shot methods take, and what the trials of one logit a weight need."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

from torch import Tensor

from nmlab.trials.masks.bits import packed_size
from nmlab.trials.methods.initial_logits.compute import has_group_scores, has_saliency
from nmlab.trials.methods.initial_logits.settings import InitialLogits, saliency_name
from nmlab.trials.methods.initial_masks.names import initial_mask_method, short_name
from nmlab.trials.methods.training_objective.needs import with_objective
from nmlab.trials.methods.training_objective.settings import ObjectiveName
from nmlab.trials.models.needs import FLOAT32, Needs, Shape, adamw_state, shared_scores, shared_start


class _Start(Protocol):
    @property
    def initial_logits(self) -> InitialLogits: ...
    @property
    def initial_mask(self) -> str: ...
    @property
    def objective(self) -> ObjectiveName: ...
    @property
    def start_pull(self) -> float: ...


def start_needs(shape: Shape, config: _Start, *, weights: Callable[[], Mapping[str, Tensor]], passes: float) -> Needs:
    """Return what a trial needs, before anything is loaded.

    ``weights`` makes the masked weights of a step, ``passes`` is the work of a step beside its forward (see `Needs`).
    """
    own = 2 * FLOAT32 * shape.prunable  # two sets of logits while the first are made
    from_rule = config.initial_logits != "random"
    found = saliency_needs(shape, config.initial_logits, config.initial_mask) if from_rule else Needs()
    needs = Needs(
        adamw_state(shape, {"logits": shape.prunable}),
        masked=shape.weight_bytes,
        start=own + found.start,
        weights=weights,
        passes=passes,
        start_reads=found.start_reads,
        start_weights=found.start_weights,
        shared=found.shared,
    )
    return with_objective(with_pull(needs, config.start_pull, shape), config.objective, shape)


def with_pull(needs: Needs, start_pull: float, shape: Shape) -> Needs:
    """Return the needs with those of a pull towards the initial mask: that mask, and the distance of the soft mask."""
    if not start_pull:
        return needs
    state = {**needs.state, "initial mask": packed_size(shape.prunable)}
    return replace(needs, state=state, step=needs.step + 3 * FLOAT32 * shape.prunable)


def saliency_needs(shape: Shape, initial_logits: InitialLogits, initial_mask: str) -> Needs:
    """Return what it takes to find the saliency of such a start, and what of it trials share."""
    name = saliency_name(initial_logits, initial_mask)
    if has_saliency(initial_mask_method(name)[0]):
        return _scores_needs(shape, "saliency", name)
    return _with_numbers(shape, initial_mask_needs(shape, name))


def group_scores_needs(shape: Shape, name: str) -> Needs:
    """Return what it takes to find the group scores of the initial mask ``name``, and what of it trials share."""
    method = initial_mask_method(name)[0]
    if has_saliency(method):
        return _scores_needs(shape, "saliency", name)
    if has_group_scores(method):
        return _scores_needs(shape, "group scores", name)
    return _with_numbers(shape, initial_mask_needs(shape, name))


def _scores_needs(shape: Shape, kind: str, name: str) -> Needs:
    method, config = initial_mask_method(name)
    needed, per_seed = method.needs(shape, config), method.uses_seed(config)
    shared = shared_scores(kind, short_name(name), shape, needs=needed, per_seed=per_seed)
    return _with_numbers(shape, _start_of(needed, shared=shared))


def _with_numbers(shape: Shape, found: Needs) -> Needs:
    """Return needs with room for the scores or the mask as numbers, by layer and joined."""
    return replace(found, start=found.start + 2 * FLOAT32 * shape.prunable)


def initial_mask_needs(shape: Shape, name: str) -> Needs:
    """Return what it takes to find the initial mask ``name``, and what of it trials share."""
    method, config = initial_mask_method(name)
    needed = method.needs(shape, config)
    shared = shared_start(short_name(name), shape, needs=needed, per_seed=method.uses_seed(config))
    return _start_of(needed, shared=shared)


def _start_of(needed: Needs | None, *, shared: Mapping[str, int]) -> Needs:
    """Return what a trial takes that starts from a method with these needs; with unknown ones ``shared`` alone."""
    if needed is None:
        return Needs(shared=shared)
    return Needs(start=needed.start, start_reads=needed.start_reads, start_weights=needed.start_weights, shared=shared)

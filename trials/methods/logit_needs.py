"""What the trials of one logit a weight need: logits with their Adam moments, and what their start takes."""

from collections.abc import Callable, Mapping
from typing import Protocol

from torch import Tensor

from nmlab.trials.methods import registry
from nmlab.trials.methods.initial_logits.compute import has_saliency
from nmlab.trials.methods.initial_logits.settings import InitialLogits
from nmlab.trials.models.needs import FLOAT32, Needs, Shape, adamw_state, shared_saliency, shared_start


class _Start(Protocol):
    @property
    def initial_logits(self) -> InitialLogits: ...
    @property
    def initial_mask(self) -> str: ...


def start_needs(shape: Shape, config: _Start, *, weights: Callable[[], Mapping[str, Tensor]], passes: float) -> Needs:
    """Return what a trial needs, before anything is loaded.

    ``weights`` makes the masked weights of a step, ``passes`` is the work of a step beside its forward (see `Needs`).
    """
    own = 2 * FLOAT32 * shape.prunable  # two sets of logits while the first are made
    found = saliency_needs(shape, config.initial_mask) if config.initial_logits == "saliency" else Needs()
    return Needs(
        adamw_state(shape, {"logits": shape.prunable}),
        masked=shape.weight_bytes,
        start=own + found.start,
        weights=weights,
        passes=passes,
        start_reads=found.start_reads,
        shared=found.shared,
    )


def saliency_needs(shape: Shape, name: str) -> Needs:
    """Return what it takes to find the saliency of the one-shot method ``name``, and what of it trials share."""
    method = registry.get(name)
    needed = method.needs(shape, method.configure({}))
    start, reads = (needed.start, needed.start_reads) if needed is not None else (0, 0.0)
    if has_saliency(method):
        shared = shared_saliency(name, shape, needs=needed, per_seed=method.depends_on_seed)
    else:
        shared = shared_start(name, shape, needs=needed, per_seed=method.depends_on_seed)
    # The scores or the mask as numbers, by layer and joined.
    return Needs(start=start + 2 * FLOAT32 * shape.prunable, start_reads=reads, shared=shared)

"""What a trial of MaskPro needs: those of its engine, and of its initial mask."""

from nmlab.trials.engines.needs import engine_needs, sequence_bytes
from nmlab.trials.methods.logit_needs import initial_mask_needs, saliency_needs
from nmlab.trials.methods.maskpro.config import MaskProConfig
from nmlab.trials.methods.maskpro.start import expected_share
from nmlab.trials.methods.training_objective.needs import with_objective
from nmlab.trials.models.needs import FLOAT32, Needs, Shape

# Bytes a weight during the start: the initial mask as booleans, by layer and joined, and the float32 logits.
_START = 6
_PASSES = 5.0  # of a step in which all groups move; see benchmarks/plan_accuracy.py


def needs(shape: Shape, config: MaskProConfig) -> Needs:
    """Return what a trial needs, before anything is loaded; raises ``ValueError`` as ``engine_needs`` does."""
    by_event = config.sampler == "event"
    engine, uncertain = engine_needs(
        "event" if by_event else config.engine,
        shape,
        logits=config.logits,
        sampler="multinomial" if by_event else config.sampler,
        exact=config.compat != "official",
        # Logits from saliency differ by group; how many deviate is not known before. Assumed is that most do.
        magnitude=config.logit_magnitude if config.initial_logits == "constant" else 0.0,
        steps=config.steps,
    )
    started = _start_needs(shape, config)
    multiplied = config.masked_weights == "multiplied"
    found = Needs(
        state={**engine, "groups off the initial mask": shape.groups},
        uncertain=uncertain,
        masked=shape.code_bytes if multiplied else shape.weight_bytes,
        start=_START * shape.prunable + started.start,
        step=2 * shape.prunable + (2 * FLOAT32 * shape.largest_layer if multiplied else 0) + _sequences(shape, config),
        forwards=config.masks_per_step,
        start_reads=1 + started.start_reads,
        start_weights=started.start_weights,
        passes=_PASSES * config.masks_per_step,
        shared=started.shared,
        extra_forwards=(config.loss_masks + 1) * config.loss_batches if config.loss_masks else 0,
    )
    held_batches = config.loss_batches if config.loss_masks else 1
    extra = config.loss_batches if config.loss_masks else 0
    return with_objective(found, config.objective, shape, held_batches=held_batches, start_reads=1, extra=extra)


def _sequences(shape: Shape, config: MaskProConfig) -> int:
    """Return the scratch bytes of a step for masks of single sequences."""
    if config.mask_per == "batch":
        return 0
    return sequence_bytes(
        shape, masks=-(-shape.sequences // shape.minibatches), share=expected_share(config, pattern=shape.pattern)
    )


def _start_needs(shape: Shape, config: MaskProConfig) -> Needs:
    """Return what the initial mask, or the saliency, takes and leaves for other trials."""
    if config.initial_logits == "constant":
        return initial_mask_needs(shape, config.initial_mask)
    return saliency_needs(shape, config.initial_logits, config.initial_mask)

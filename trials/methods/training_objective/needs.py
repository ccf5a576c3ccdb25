"""What a training objective needs, besides the method: with ``distill``, the dense model's predictions."""

from dataclasses import replace

from nmlab.trials.methods.training_objective.settings import ObjectiveName
from nmlab.trials.models.dense_teacher import are_kept, predictions_bytes
from nmlab.trials.models.needs import Needs, Shape


def with_objective(
    needs: Needs, name: ObjectiveName, shape: Shape, *, held_batches: int = 0, start_reads: int = 0, extra: int = 0
) -> Needs:
    """Return the needs of a method with those of its training objective.

    Args:
        needs: of the method with the objective ``next_token``.
        name: the objective.
        shape: the sizes of the model and of the calibration text.
        held_batches: minibatches whose predictions the run holds where they are not kept.
        start_reads: how often the start then needs the predictions of the whole calibration text.
        extra: minibatches whose predictions the diagnostics of a finished run then compute.
    """
    if name == "next_token":
        return needs
    assert shape.vocabulary, "predictions have the size of the vocabulary"
    size = {"tokens": shape.sequences * shape.length, "vocabulary": shape.vocabulary}
    if are_kept(**size):
        shared = {**needs.shared, "dense predictions": predictions_bytes(**size)}
        return replace(needs, distills=True, start_reads=needs.start_reads + 1, shared=shared)
    return replace(
        needs,
        distills=True,
        dense_forwards=1,
        held_batches=held_batches,
        start_reads=needs.start_reads + start_reads,
        extra_forwards=needs.extra_forwards + extra,
    )

"""The training objective of a trial: with ``distill``, a teacher whose predictions are kept where they fit."""

from functools import partial

from torch import Tensor

from nmlab.trials.measure.cost import Cost
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.training_objective.settings import ObjectiveName
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.dense_teacher import DenseTeacher, are_kept
from nmlab.trials.models.training_objective import NEXT_TOKEN, Distillation, TrainingObjective


def training_objective(
    name: ObjectiveName, context: TrialContext, *, steps: int | None = None, held_batches: int = 0
) -> TrainingObjective:
    """Return the objective of a trial.

    With ``distill``, predictions that fit are computed once for all trials of the replica, and the trial is charged a
    forward for each minibatch. Otherwise they are computed whenever they are needed, for which the run must charge
    ``dense_forwards`` a minibatch and step.

    Args:
        name: the hyperparameter.
        context: the trial.
        steps: the number of minibatches that the run takes in turn; None where it needs all.
        held_batches: how many minibatches' predictions are held that are not kept: those that are asked for repeatedly.
    """
    if name == "next_token":
        return NEXT_TOKEN
    frozen, batches, at_once = context.replica.frozen, context.batches, context.model.micro_batch
    dense = MaskedModel(frozen, pipeline=context.model.pipeline)
    teacher = DenseTeacher(dense, batches, at_once=at_once, held_batches=held_batches)
    if not are_kept(tokens=sum(map(Tensor.numel, batches)), vocabulary=frozen.vocabulary_size):
        return Distillation(teacher, dense_forwards=1)

    def compute(batch: int, account: Cost) -> list[Tensor | None]:
        account.count_forward(batches[batch].numel())
        return teacher.compute(batch)

    key = ("dense predictions", context.calibration, at_once)
    needed = range(min(len(batches), len(batches) if steps is None else steps))
    teacher.keep({batch: context.share((*key, batch), partial(compute, batch)) for batch in needed})
    return Distillation(teacher, dense_forwards=0)

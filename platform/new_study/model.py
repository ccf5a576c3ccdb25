"""What a new study has to know of its model, without loading its weights."""

from __future__ import annotations

from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.models import ModelSource, locate
from nmlab.trials.models.context_length import longest_context
from nmlab.trials.models.frozen import read_tokenizer
from nmlab.trials.models.prunable import check_divisible, check_measurable, find_prunable
from nmlab.trials.models.reading import read_skeleton


@dataclass(frozen=True)
class ModelFacts:
    """A model.

    Attributes:
        weights: that a mask covers.
        parameters: in all.
        context: the most tokens that it reads at once; None if nothing limits them.
        unmeasured: why the inputs of its layers cannot be measured, which Wanda needs; "" if they can.
        tokenizer: that lies beside it.
    """

    weights: int
    parameters: int
    context: int | None
    unmeasured: str
    tokenizer: PreTrainedTokenizerBase = field(repr=False)


def read_model(source: ModelSource, *, pattern: Pattern) -> ModelFacts:
    """Return what is to be known of a model.

    Raises ``SourceError`` with one line for a model that is not there or not covered, and for layers that M does not
    divide.
    """
    folder = locate(source)
    skeleton = read_skeleton(folder, source)
    layers = find_prunable(skeleton, leave_dense=source.leave_dense).layers
    check_divisible(layers, pattern=pattern)
    try:
        check_measurable(layers)
        unmeasured = ""
    except SourceError as error:
        unmeasured = str(error)
    return ModelFacts(
        weights=sum(layer.numel for layer in layers),
        parameters=sum(each.numel() for each in skeleton.parameters()),
        context=longest_context(skeleton),
        unmeasured=unmeasured,
        tokenizer=read_tokenizer(folder, source),
    )

"""Prunable layers: the linear layers of the decoder blocks, except selectors and unused ones."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.models.blocks import decoder_blocks
from nmlab.trials.models.coverage import Coverage, coverage_of
from nmlab.trials.models.roles import block_weights

__all__ = [
    "Prunable",
    "PrunableLayer",
    "check_divisible",
    "check_measurable",
    "decoder_blocks",
    "find_prunable",
    "prunable_layers",
]


@dataclass(frozen=True)
class PrunableLayer:
    """One linear layer of a decoder block: its qualified name, its block, and the shape [out, in] of its weight.

    ``aliases`` are the other names of layers with the very same weight, which have the same mask and count once.
    ``is_called`` is false where the model takes the weight without calling the layer, whose inputs no hook then sees.
    """

    name: str
    block: int
    out_features: int
    in_features: int
    aliases: tuple[str, ...] = ()
    is_called: bool = True

    @property
    def numel(self) -> int:
        return self.out_features * self.in_features


@dataclass(frozen=True)
class Prunable:
    """The prunable layers of a model, and how much of its decoder blocks they are."""

    layers: tuple[PrunableLayer, ...]
    coverage: Coverage


def find_prunable(model: PreTrainedModel, *, leave_dense: Sequence[str] = ()) -> Prunable:
    """Return the prunable layers in the order in which the model names them, and the coverage.

    ``leave_dense`` names weights that stay dense, as `ModelSource` does. The model may be a skeleton without contents.
    Raises ``SourceError`` where weights of the blocks would stay dense without being named.
    """
    weights, problem = block_weights(model, leave_dense=leave_dense)
    coverage = coverage_of(weights, problem=problem, architecture=type(model).__name__)
    layers = []
    for weight in weights:
        if weight.role == "pruned":
            name, *aliases = (each.removesuffix(".weight") for each in weight.names)
            outputs, inputs = weight.shape
            layers.append(PrunableLayer(name, weight.block, outputs, inputs, tuple(aliases), weight.is_called))
    return Prunable(tuple(layers), coverage)


def prunable_layers(model: PreTrainedModel, *, leave_dense: Sequence[str] = ()) -> tuple[PrunableLayer, ...]:
    """Return the layers of `find_prunable`."""
    return find_prunable(model, leave_dense=leave_dense).layers


def check_measurable(layers: Sequence[PrunableLayer]) -> None:
    """Raise ``SourceError`` naming the first layer whose inputs cannot be measured block by block."""
    for layer in layers:
        if not layer.is_called:
            raise SourceError(
                f"{layer.name}: the model takes its weight without calling the layer, so its inputs cannot be "
                f"measured; {_left(layer)}, or take a method that measures no inputs"
            )
        if layer.aliases:
            raise SourceError(
                f"{layer.name} and {layer.aliases[0]} are one weight, so its inputs cannot be measured block by block; "
                f"{_left(layer)}, or take a method that measures no inputs"
            )


def _left(layer: PrunableLayer) -> str:
    return f"leave it dense with model.leave_dense=[{layer.name.rpartition('.')[2]}]"


def check_divisible(layers: Sequence[PrunableLayer], *, pattern: Pattern) -> None:
    """Raise ``SourceError`` naming every layer whose input size M does not divide (a group would be cut short)."""
    bad = [layer for layer in layers if layer.in_features % pattern.m]
    if bad:
        named = ", ".join(f"{layer.name} ({layer.in_features} inputs)" for layer in bad[:3])
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        leave = ", ".join(sorted({layer.name.rpartition(".")[2] for layer in bad}))
        raise SourceError(
            f"pattern {pattern}: M={pattern.m} does not divide the input size of {named}{more}; take another "
            f"pattern, or leave them dense with model.leave_dense=[{leave}]"
        )

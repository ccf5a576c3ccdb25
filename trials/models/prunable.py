"""Which layers a mask may touch: every linear layer of the decoder blocks, none else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from nmlab.trials.errors import SourceError
from nmlab.trials.pattern import Pattern


@dataclass(frozen=True)
class PrunableLayer:
    """One linear layer of a decoder block: its qualified name, its block, and the shape [out, in] of its weight."""

    name: str
    block: int
    out_features: int
    in_features: int

    @property
    def numel(self) -> int:
        return self.out_features * self.in_features


def decoder_blocks(model: PreTrainedModel) -> tuple[str, nn.ModuleList]:
    """Return the qualified name and the list of the decoder blocks.

    The blocks are the one module list that is as long as the configuration says. Raises ``SourceError`` where there is
    none or more than one, because pruning the wrong layers would go unnoticed.
    """
    depth = model.config.get_text_config(decoder=True).num_hidden_layers
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == depth and any(_linears(module))
    ]
    outermost = [
        (name, module) for name, module in found if not any(name.startswith(f"{other}.") for other, _ in found)
    ]
    if len(outermost) != 1:
        raise SourceError(
            f"{type(model).__name__}: expected one list of {depth} decoder blocks with linear layers, "
            f"found {len(outermost)}: {', '.join(name for name, _ in outermost) or 'none'}"
        )
    return outermost[0]


def prunable_layers(model: PreTrainedModel) -> tuple[PrunableLayer, ...]:
    """List the prunable layers in the order in which the model names them."""
    prefix, blocks = decoder_blocks(model)
    return tuple(
        PrunableLayer(f"{prefix}.{index}.{name}", index, linear.out_features, linear.in_features)
        for index, block in enumerate(blocks)
        for name, linear in _linears(block)
    )


def check_divisible(layers: Sequence[PrunableLayer], *, pattern: Pattern) -> None:
    """Raise ``SourceError`` naming every layer whose input size M does not divide (a group would be cut short)."""
    bad = [layer for layer in layers if layer.in_features % pattern.m]
    if bad:
        named = ", ".join(f"{layer.name} ({layer.in_features} inputs)" for layer in bad[:3])
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise SourceError(f"pattern {pattern}: M={pattern.m} does not divide the input size of {named}{more}")


def _linears(module: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    return ((name, child) for name, child in module.named_modules() if isinstance(child, nn.Linear))

"""Pipeline stages: the part of a model that one worker holds, a contiguous run of its decoder blocks.

The module tree is that of the whole architecture, and the architecture's own forward runs. Modules that a stage does
not hold are placeholders without tensors: a block returns the hidden states it is given, the embeddings return zeros,
the output layer returns nothing. The first stage holds the embeddings, the last one the output layer; norms and learned
positions are small, and all stages hold them.

Legend: B batch, T tokens, H hidden size.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from nmlab.trials.compat import empty_module
from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.sections import ModelSource
from nmlab.trials.models.prunable import Prunable, PrunableLayer, decoder_blocks, find_prunable
from nmlab.trials.models.quiet import quiet
from nmlab.trials.models.reading import read_config, read_module, read_skeleton

ExtraOutputs = tuple[object, ...] | None
"""The rest of a block's output tuple besides the hidden states; None where a block returns the hidden states alone."""


@dataclass(frozen=True)
class Stage:
    """The part of a model that one worker holds: its index among the stages, its blocks, and the layers of all."""

    index: int
    count: int
    blocks: range
    prunable: Prunable
    """The prunable layers of all stages, and how much of the decoder blocks they cover."""

    @property
    def layers(self) -> tuple[PrunableLayer, ...]:
        """The prunable layers of all stages."""
        return self.prunable.layers

    @property
    def is_first(self) -> bool:
        return self.index == 0

    @property
    def is_last(self) -> bool:
        return self.index == self.count - 1


def split_blocks(blocks: int, *, stages: int) -> list[range]:
    """Return the blocks of each stage, as even as possible; raises ``ValueError`` for more stages than blocks."""
    if not 1 <= stages <= blocks:
        raise ValueError(
            f"{stages} pipeline stages for a model of {blocks} decoder blocks: expected 1 to {blocks} pipeline stages"
        )
    cuts = [blocks * index // stages for index in range(stages + 1)]
    return [range(low, high) for low, high in pairwise(cuts)]


def read_stage(folder: Path, source: ModelSource, *, index: int, count: int) -> tuple[PreTrainedModel, Stage]:
    """Load one stage of a checkpoint, without reading the tensors of the other stages.

    Raises ``SourceError`` where the checkpoint lacks a tensor of the stage, and ``ValueError`` for too many stages.
    """
    config, skeleton = read_config(folder), read_skeleton(folder, source, verb="loaded")
    depth = len(decoder_blocks(skeleton)[1])
    found = find_prunable(skeleton, leave_dense=source.leave_dense)
    stage = Stage(index, count, split_blocks(depth, stages=count)[index], found)
    _check_no_shared_weights(found.layers, split_blocks(depth, stages=count), prefix=decoder_blocks(skeleton)[0])
    if skeleton.get_input_embeddings() is None or skeleton.get_output_embeddings() is None:
        raise SourceError(f"model {source.source!r}: {type(skeleton).__name__} does not name its embeddings")
    is_tied = bool(config.get_text_config(decoder=True).tie_word_embeddings)
    placeholders = _Placeholders(stage, keeps_embeddings=stage.is_first or (stage.is_last and is_tied))
    if not stage.is_last:
        config.get_text_config(decoder=True).tie_word_embeddings = False  # there is nothing to tie the embeddings to
    with quiet():
        architecture = _with_placeholders(type(skeleton), placeholders)
        module = read_module(folder, source, architecture=architecture, config=config)
    placeholders.replace_end_forwards(module)
    placeholders.replace_block_forwards(module, extra=_extra_outputs(module, own=stage.blocks))
    return module, stage


def _check_no_shared_weights(layers: Sequence[PrunableLayer], stages: Sequence[range], *, prefix: str) -> None:
    """Raise ``SourceError`` for a weight that layers of two stages share: each would have a mask of its own."""
    for layer in layers:
        own = next(stage for stage in stages if layer.block in stage)
        for alias in layer.aliases:
            if int(alias.removeprefix(f"{prefix}.").split(".")[0]) not in own:
                raise SourceError(
                    f"{layer.name} and {alias} share one weight but lie in two pipeline stages; "
                    "set replica.pipeline_stages to 1"
                )


@dataclass(frozen=True)
class _Placeholders:
    """Turns the modules that a stage does not hold into placeholders without tensors."""

    stage: Stage
    keeps_embeddings: bool

    def empty(self, model: PreTrainedModel) -> None:
        """Remove submodules, parameters and buffers of the placeholders; the loader then skips their tensors."""
        blocks = decoder_blocks(model)[1]
        others = [block for index, block in enumerate(blocks) if index not in self.stage.blocks]
        for module in (*others, *self._ends(model)):
            empty_module(module)

    def replace_end_forwards(self, model: PreTrainedModel) -> None:
        """Let placeholder embeddings return zeros, and a placeholder output layer nothing."""
        for module in self._ends(model):
            is_embedding = module is model.get_input_embeddings()
            module.forward = _zeros(module, model.dtype) if is_embedding else _nothing

    def replace_block_forwards(self, model: PreTrainedModel, *, extra: ExtraOutputs) -> None:
        """Let placeholder blocks return the hidden states they are given."""
        for index, block in enumerate(decoder_blocks(model)[1]):
            if index not in self.stage.blocks:
                block.forward = pass_through_forward(extra)

    def _ends(self, model: PreTrainedModel) -> list[nn.Module]:
        """Return those of embeddings and output layer that are placeholders here."""
        embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
        return [*([] if self.keeps_embeddings else [embeddings]), *([] if self.stage.is_last else [head])]


def pass_through_forward(extra: ExtraOutputs) -> Callable[..., object]:
    """Return a forward that returns the hidden states it is given, in the form of a block's output."""

    def pass_through(*args: object, **kwargs: object) -> object:
        hidden = args[0] if args else kwargs["hidden_states"]
        return hidden if extra is None else (hidden, *extra)

    return pass_through


def _zeros(embedding: nn.Module, dtype: torch.dtype) -> Callable[..., Tensor]:
    width = embedding.embedding_dim
    assert isinstance(width, int)

    def zeros(tokens_BT: Tensor, *_: object, **__: object) -> Tensor:
        return torch.zeros(*tokens_BT.shape, width, dtype=dtype, device=tokens_BT.device)

    return zeros


def _nothing(hidden_BTH: Tensor, *_: object, **__: object) -> Tensor:
    return hidden_BTH[..., :0]


def _with_placeholders(architecture: type[PreTrainedModel], placeholders: _Placeholders) -> type[PreTrainedModel]:
    """Return the architecture with a constructor that empties the placeholders before any memory is allocated.

    ``from_pretrained`` calls the constructor itself and then reads the tensors that the model has, so nothing outside
    the class can act between the two.
    """

    def build(self: PreTrainedModel, *args: Any, **kwargs: Any) -> None:
        architecture.__init__(self, *args, **kwargs)
        placeholders.empty(self)

    return type(architecture.__name__, (architecture,), {"__init__": build, "__module__": architecture.__module__})


@torch.no_grad()
def _extra_outputs(model: PreTrainedModel, *, own: range) -> ExtraOutputs:
    """Return the form of a block's output, as seen in a forward through the blocks held here and no others."""
    prefix, blocks = decoder_blocks(model)
    outputs: list[object] = []
    hook = blocks[own.start].register_forward_hook(lambda _, __, output: outputs.append(output))
    model.set_submodule(prefix, nn.ModuleList(blocks[index] for index in own))
    try:
        model(input_ids=torch.zeros(1, 2, dtype=torch.long, device=model.device), use_cache=False)
    finally:
        model.set_submodule(prefix, blocks)
        hook.remove()
    assert outputs, "the model has a forward that does not call its blocks"
    first = outputs[0]
    return first[1:] if isinstance(first, tuple) else None

"""Statistics of layer inputs, gathered one decoder block at a time on already pruned predecessors.

Every block runs with the arguments that the model's own forward gave it; nothing about an architecture is assumed
beyond that a block takes the hidden states first and returns them first. Each pipeline stage visits its own blocks and
sends the hidden states of all batches to the next stage.

Legend: B batch, T tokens, I inputs.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from nmlab.trials.compat import writes_to
from nmlab.trials.contract.errors import SourceError
from nmlab.trials.inputs.statistics import InputStatistic
from nmlab.trials.measure.cost import Cost
from nmlab.trials.models import MaskedModel, PrunableLayer
from nmlab.trials.models.prunable import check_measurable, decoder_blocks
from nmlab.trials.models.stage import ExtraOutputs, pass_through_forward

Statistic = TypeVar("Statistic", bound=InputStatistic)


def prune_blocks(
    model: MaskedModel,
    batches: Sequence[Tensor],
    *,
    statistic: Callable[[PrunableLayer], Statistic],
    mask_of: Callable[[PrunableLayer, Statistic], Tensor],
    cost: Cost,
) -> dict[str, Tensor]:
    """Prune block after block: statistics see pruned previous blocks and a dense current one; return all masks.

    ``statistic(layer)`` makes an ``InputStatistic``; ``mask_of(layer, statistic)`` returns the layer's boolean mask.
    """
    masks: dict[str, Tensor] = {}

    def apply(layer: PrunableLayer, gathered: Statistic) -> None:
        masks[layer.name] = mask_of(layer, gathered)
        model.apply_masks({layer.name: masks[layer.name]})

    visit_blocks(model, batches, statistic=statistic, apply=apply, cost=cost)
    return masks


@torch.no_grad()
def visit_blocks(
    model: MaskedModel,
    batches: Sequence[Tensor],
    *,
    statistic: Callable[[PrunableLayer], Statistic],
    apply: Callable[[PrunableLayer, Statistic], None],
    cost: Cost,
) -> None:
    """Visit the blocks in order: measure the inputs of a dense block behind pruned ones, then prune it.

    Args:
        model: the masked model; its masks are removed first.
        batches: minibatches of calibration tokens, int64 [B, T].
        statistic: makes the ``InputStatistic`` of a layer; layers that are given the same input tensor share one.
        apply: applies a mask or new weights to a layer, given its statistic. All layers of a block are measured before
            it is called for the first of them.
        cost: the account in which the passes are counted.

    Raises ``SourceError`` for a layer whose inputs cannot be measured.
    """
    check_measurable(model.frozen.layers)
    model.remove_masks()
    _, blocks = decoder_blocks(model.module)
    extra_outputs = _extra_outputs(model, blocks, tokens_1T=batches[0][:1], cost=cost)
    with nullcontext() if model.hooks is None else model.hooks.paused():
        calls = _record_calls(model, blocks, batches=batches, extra_outputs=extra_outputs)
        _visit_own(model, blocks, calls, statistic=statistic, apply=apply)
    cost.forwards += 2 * len(batches)  # each block but the last runs twice: to be measured, then pruned
    cost.tokens += 2 * sum(batch.numel() for batch in batches)


_Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of a block, the hidden states first."""


def _visit_own(
    model: MaskedModel,
    blocks: nn.ModuleList,
    calls: Sequence[Sequence[_Call]],
    *,
    statistic: Callable[[PrunableLayer], Statistic],
    apply: Callable[[PrunableLayer, Statistic], None],
) -> None:
    """Visit the blocks that this process holds."""
    hidden, stage, hooks = [calls_of_batch[0][0][0] for calls_of_batch in calls], model.frozen.stage, model.hooks
    if hooks is not None and stage is not None and not stage.is_first:
        hidden = [hooks.receive(like) for like in hidden]
    for index in range(len(blocks)) if stage is None else stage.blocks:
        block = blocks[index]
        layers = [layer for layer in model.frozen.layers if layer.block == index]
        observer = _Observer(layers, statistic=statistic)
        for batch, states in enumerate(hidden):
            with observer.watching(model.module, sequences=states.shape[0]):
                _run(block, states, calls[batch][index])
        gathered = observer.gathered()
        for layer in layers:
            apply(layer, gathered.pop(layer.name))  # popped, because a Hessian is large
        if index + 1 < len(blocks):
            hidden = [_run(block, states, calls[batch][index]) for batch, states in enumerate(hidden)]
    if hooks is not None and stage is not None and not stage.is_last:
        for states in hidden:
            hooks.send(states)


def _extra_outputs(model: MaskedModel, blocks: nn.ModuleList, *, tokens_1T: Tensor, cost: Cost) -> list[ExtraOutputs]:
    """Return what every block returns besides hidden states, found by running one sequence through the model."""
    extra_outputs: list[ExtraOutputs] = []

    def remember_extra(_: nn.Module, __: object, output: object) -> None:
        extra_outputs.append(output[1:] if isinstance(output, tuple) else None)

    with _hooked(block.register_forward_hook(remember_extra) for block in blocks):
        _forward(model, tokens_1T)
    cost.count_forward(tokens_1T.shape[1])
    return extra_outputs


def _record_calls(
    model: MaskedModel, blocks: nn.ModuleList, *, batches: Sequence[Tensor], extra_outputs: Sequence[ExtraOutputs]
) -> list[list[_Call]]:
    """Return for every batch the positional and keyword arguments that each block was called with.

    Beyond the first block the hidden states are dropped, because they will come from pruned predecessors; so no batch
    runs through the blocks here.
    """
    record: list[_Call] = []

    def remember(_: nn.Module, args: tuple[object, ...], kwargs: dict[str, object]) -> None:
        if not args:
            kwargs = dict(kwargs)
            args = (kwargs.pop("hidden_states"),)
        record.append((args, kwargs) if not record else ((None, *args[1:]), kwargs))

    calls = []
    with _passing_through(blocks, extra_outputs), _hooked(_before(block, remember) for block in blocks):
        for batch in batches:
            _forward(model, batch)
            if len(record) != len(blocks):
                raise SourceError(
                    f"{type(model.module).__name__}: a forward calls its {len(blocks)} decoder blocks {len(record)} "
                    "times, so inputs cannot be measured block by block; take a method that measures no inputs"
                )
            calls.append(list(record))
            record.clear()
    return calls


def _before(block: nn.Module, hook: Callable[..., None]) -> RemovableHandle:
    return block.register_forward_pre_hook(hook, with_kwargs=True)


def _forward(model: MaskedModel, tokens_BT: Tensor) -> None:
    model.module(input_ids=tokens_BT.to(model.frozen.device), use_cache=False)


@contextmanager
def _hooked(handles: Iterable[RemovableHandle]) -> Iterator[None]:
    held = list(handles)
    try:
        yield
    finally:
        for handle in held:
            handle.remove()


@contextmanager
def _passing_through(blocks: nn.ModuleList, extra_outputs: Sequence[ExtraOutputs]) -> Iterator[None]:
    """Let every block return the hidden states it is given, in the form of its usual output."""
    full = [(block, extra) for block, extra in zip(blocks, extra_outputs, strict=True) if "forward" not in vars(block)]
    for block, extra in full:  # placeholders of other stages do so already
        block.forward = pass_through_forward(extra)
    try:
        yield
    finally:
        for block, _ in full:
            del block.forward  # uncovers the method of the class


def _run(block: nn.Module, hidden: Tensor, call: _Call) -> Tensor:
    (_, *rest), kwargs = call
    output = block(hidden, *rest, **kwargs)
    first = output[0] if isinstance(output, tuple) else output
    assert isinstance(first, Tensor)
    return first


class _Observer(Generic[Statistic]):
    """Updates every layer's statistic with its inputs as [B, T, I]; some blocks (OPT's) flatten B and T for their MLP.

    Queries, keys and values are given one tensor, and so are gate and up, so they share one statistic.
    """

    def __init__(self, layers: Sequence[PrunableLayer], *, statistic: Callable[[PrunableLayer], Statistic]) -> None:
        self._layers = layers
        self._statistic = statistic
        self._statistics: dict[str, Statistic] = {}
        self._measured_as: dict[str, str] = {}
        self._last: tuple[str, Tensor, int] | None = None

    @contextmanager
    def watching(self, module: nn.Module, *, sequences: int) -> Iterator[None]:
        def hook_for(layer: PrunableLayer) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            return lambda _, args: self._see(layer, args[0], sequences=sequences)

        with _hooked(module.get_submodule(it.name).register_forward_pre_hook(hook_for(it)) for it in self._layers):
            yield
        self._last = None

    def gathered(self) -> dict[str, Statistic]:
        """Return the statistic of every layer by name."""
        for layer in self._layers:
            if layer.name not in self._measured_as:
                raise SourceError(
                    f"{layer.name}: the forward of its block calls it on none of the calibration text, so its inputs "
                    "cannot be measured; give more or longer text, or name it in model.leave_dense"
                )
        return {layer.name: self._statistics[self._measured_as[layer.name]] for layer in self._layers}

    def _see(self, layer: PrunableLayer, inputs: Tensor, *, sequences: int) -> None:
        if self._last is None or self._last[1] is not inputs or self._last[2] != writes_to(inputs):
            self._last = (layer.name, inputs, writes_to(inputs))
        source = self._last[0]
        assert self._measured_as.setdefault(layer.name, source) == source, f"{layer.name} shares its inputs at times"
        if source == layer.name:
            if source not in self._statistics:
                self._statistics[source] = self._statistic(layer)
            self._statistics[source].update(inputs.reshape(sequences, -1, inputs.shape[-1]))

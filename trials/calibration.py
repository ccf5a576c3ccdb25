"""Statistics of layer inputs, gathered one decoder block at a time on already pruned predecessors.

Every block runs with the arguments that the model's own forward gave it; nothing about an architecture is assumed
beyond that a block takes the hidden states first and returns them first.

Legend: B batch, T tokens, R rows (tokens of all sequences of a batch), I inputs.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nmlab.trials.cost import Cost
from nmlab.trials.models import MaskedModel, PrunableLayer
from nmlab.trials.models.prunable import decoder_blocks


class InputStatistic(Protocol):
    """A running statistic of one layer's inputs."""

    def update(self, inputs_BTI: Tensor) -> None: ...


class SquareMean:
    """Squared inputs summed over tokens, averaged over sequences: a_j = 1/n sum_st x_stj^2 (Wanda), float32 [I]."""

    def __init__(self, layer: PrunableLayer, *, device: torch.device) -> None:
        self._sum_I = torch.zeros(layer.in_features, dtype=torch.float32, device=device)
        self._sequences = 0

    def update(self, inputs_BTI: Tensor) -> None:
        self._sum_I += inputs_BTI.float().square().sum(dim=(0, 1))
        self._sequences += inputs_BTI.shape[0]

    @property
    def mean_I(self) -> Tensor:
        return self._sum_I / self._sequences


class SecondMoment:
    """The Hessian of a layer's reconstruction error, H = 2/n sum_s X_s^T X_s (SparseGPT), float32 [I, I].

    X_s are the inputs of sequence s, [T, I]; n counts sequences.
    """

    def __init__(self, layer: PrunableLayer, *, device: torch.device) -> None:
        self._sum_II = torch.zeros(layer.in_features, layer.in_features, dtype=torch.float32, device=device)
        self._sequences = 0

    def update(self, inputs_BTI: Tensor) -> None:
        inputs_RI = inputs_BTI.flatten(0, 1).float()
        self._sum_II.addmm_(inputs_RI.T, inputs_RI)
        self._sequences += inputs_BTI.shape[0]

    @property
    def hessian_II(self) -> Tensor:
        return self._sum_II * (2 / self._sequences)


def prune_blocks(
    model: MaskedModel,
    batches: Sequence[Tensor],
    *,
    statistic: Callable[[PrunableLayer], Any],
    mask_of: Callable[[PrunableLayer, Any], Tensor],
    cost: Cost,
) -> dict[str, Tensor]:
    """Prune block after block: statistics see pruned previous blocks and a dense current one; return all masks.

    ``statistic(layer)`` makes an ``InputStatistic``; ``mask_of(layer, statistic)`` returns the layer's boolean mask.
    """
    masks: dict[str, Tensor] = {}

    def dress(layer: PrunableLayer, gathered: Any) -> None:
        masks[layer.name] = mask_of(layer, gathered)
        model.wear({layer.name: masks[layer.name]})

    visit_blocks(model, batches, statistic=statistic, dress=dress, cost=cost)
    return masks


@torch.no_grad()
def visit_blocks(
    model: MaskedModel,
    batches: Sequence[Tensor],
    *,
    statistic: Callable[[PrunableLayer], Any],
    dress: Callable[[PrunableLayer, Any], None],
    cost: Cost,
) -> None:
    """Measure a dense block after dressed ones, dress it, and go on to the next with what it then gives.

    ``statistic(layer)`` makes an ``InputStatistic``; ``dress(layer, statistic)`` has the model wear what the layer
    keeps from then on. All layers of a block are measured before the first of them is dressed.
    """
    model.undress()
    _, blocks = decoder_blocks(model.module)
    calls = _record_calls(model, blocks, batches, cost)
    hidden = [calls_of_batch[0][0][0] for calls_of_batch in calls]
    for index, block in enumerate(blocks):
        layers = [layer for layer in model.frozen.layers if layer.block == index]
        statistics = {layer.name: statistic(layer) for layer in layers}
        for batch, states in enumerate(hidden):
            with _observing(model.module, statistics, sequences=states.shape[0]):
                _run(block, states, calls[batch][index])
        for layer in layers:
            dress(layer, statistics.pop(layer.name))  # popped, because a Hessian is large
        hidden = [_run(block, states, calls[batch][index]) for batch, states in enumerate(hidden)]
    cost.forwards += 2 * len(batches)  # each block runs twice: to be measured, then pruned
    cost.tokens += 2 * sum(batch.numel() for batch in batches)


_Call = tuple[tuple[Any, ...], dict[str, Any]]


def _record_calls(
    model: MaskedModel, blocks: nn.ModuleList, batches: Sequence[Tensor], cost: Cost
) -> list[list[_Call]]:
    """Return for every batch the positional and keyword arguments that each block was called with.

    Beyond the first block the hidden states are dropped: they will come from pruned predecessors.
    """
    record: list[_Call] = []

    def remember(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not args:
            kwargs = dict(kwargs)
            args = (kwargs.pop("hidden_states"),)
        record.append((args, kwargs) if not record else ((None, *args[1:]), kwargs))

    handles = [block.register_forward_pre_hook(remember, with_kwargs=True) for block in blocks]
    calls = []
    try:
        for batch in batches:
            model.module(input_ids=batch.to(model.frozen.device), use_cache=False)
            cost.count_forward(batch.numel())
            assert len(record) == len(blocks)
            calls.append(list(record))
            record.clear()
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _run(block: nn.Module, hidden: Tensor, call: _Call) -> Tensor:
    (_, *rest), kwargs = call
    output = block(hidden, *rest, **kwargs)
    first = output[0] if isinstance(output, tuple) else output
    assert isinstance(first, Tensor)
    return first


@contextmanager
def _observing(module: nn.Module, statistics: dict[str, InputStatistic], *, sequences: int) -> Iterator[None]:
    """Show every layer's inputs to its statistic as [B, T, I]; some blocks (OPT's) flatten B and T for their MLP."""

    def hook_for(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, args: statistics[name].update(args[0].reshape(sequences, -1, args[0].shape[-1]))

    handles = [module.get_submodule(name).register_forward_pre_hook(hook_for(name)) for name in statistics]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()

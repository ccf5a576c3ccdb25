"""Pass the hidden states of a forward, and their gradients in a backward, from one pipeline stage to the next.

Legend: B batch, T tokens, H hidden size.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from nmlab.trials.models.prunable import decoder_blocks
from nmlab.trials.models.stage import Stage
from nmlab.trials.parallel.pipeline_group import PipelineGroup

_Inputs = tuple[tuple[Tensor, ...], dict[str, Any]]
"""Positional and keyword arguments of a block."""


class PipelineHooks:
    """Hooks on a trial's module tree: its first own block receives hidden states, its last one sends them on.

    A call of the module is one forward of the whole pipeline group, so all ranks must make it.
    """

    def __init__(self, module: PreTrainedModel, *, stage: Stage, pipeline: PipelineGroup) -> None:
        assert (stage.index, stage.count) == (pipeline.rank, pipeline.size)
        self._stage, self._pipeline = stage, pipeline
        self._sent_BTH: Tensor | None = None
        self._is_paused = False
        blocks = decoder_blocks(module)[1]
        if not stage.is_first:
            blocks[stage.blocks[0]].register_forward_pre_hook(self._receive_input, with_kwargs=True)
        if not stage.is_last:
            blocks[stage.blocks[-1]].register_forward_hook(self._send_output)

    def receive(self, like_BTH: Tensor) -> Tensor:
        """Return the hidden states from the previous stage, which have the shape, type and device of ``like_BTH``."""
        if torch.is_grad_enabled():
            anchor = torch.empty(0, requires_grad=True)  # a function gets a backward only if an input requires one
            received_BTH: Tensor = _Receive.apply(anchor, like_BTH, self._pipeline)  # type: ignore[no-untyped-call]
            return received_BTH
        return self._pipeline.receive(like_BTH, by=self._pipeline.rank - 1)

    def send(self, hidden_BTH: Tensor) -> None:
        """Send hidden states to the next stage; the backward of ``loss`` receives their gradient."""
        self._pipeline.send(hidden_BTH, to=self._pipeline.rank + 1)
        self._sent_BTH = hidden_BTH if hidden_BTH.requires_grad else None

    def loss(self, compute: Callable[[], Tensor]) -> Tensor:
        """Return the loss, a scalar: ``compute()`` on the last stage, its broadcast value on the others.

        On the others the backward begins with the gradient of the hidden states that they sent. A factor applied to the
        loss before its backward must be the same on all stages; the last stage applies it.
        """
        last = self._pipeline.size - 1
        if self._stage.is_last:
            computed = compute()
            self._pipeline.broadcast(float(computed.detach()), by=last)
            return computed
        value = self._pipeline.broadcast(0.0, by=last)
        sent_BTH, self._sent_BTH = self._sent_BTH, None
        assert sent_BTH is not None, "the hidden states that were sent require no gradient"
        loss: Tensor = _Loss.apply(sent_BTH, value, self._pipeline)  # type: ignore[no-untyped-call]
        return loss

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the module run without sending to or receiving from its neighbours."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def _receive_input(self, _: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Any]) -> _Inputs | None:
        if self._is_paused:
            return None
        if args:
            return (self.receive(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": self.receive(kwargs["hidden_states"])}

    def _send_output(self, _: nn.Module, __: object, output: object) -> object:
        if self._is_paused:
            return None
        hidden_BTH = output[0] if isinstance(output, tuple) else output
        assert isinstance(hidden_BTH, Tensor), "a block returns the hidden states first"
        self.send(hidden_BTH)
        # What the rest of the module computes from it on this stage is discarded, so it needs no backward.
        discarded_BTH = hidden_BTH.detach()
        return (discarded_BTH, *output[1:]) if isinstance(output, tuple) else discarded_BTH


class _Context(Protocol):
    """What a forward keeps for its backward."""

    pipeline: PipelineGroup
    like: Tensor


class _Receive(torch.autograd.Function):
    """Receives hidden states from the previous stage; the backward sends their gradient back."""

    @staticmethod
    def forward(ctx: _Context, anchor: Tensor, like_BTH: Tensor, pipeline: PipelineGroup) -> Tensor:
        ctx.pipeline = pipeline
        return pipeline.receive(like_BTH, by=pipeline.rank - 1)

    @staticmethod
    def backward(ctx: _Context, gradient_BTH: Tensor) -> tuple[None, ...]:
        ctx.pipeline.send(gradient_BTH, to=ctx.pipeline.rank - 1)
        return None, None, None


class _Loss(torch.autograd.Function):
    """The loss as the last stage broadcast it; the backward waits for the gradient of the hidden states sent."""

    @staticmethod
    def forward(ctx: _Context, sent_BTH: Tensor, value: float, pipeline: PipelineGroup) -> Tensor:
        ctx.pipeline = pipeline
        ctx.like = sent_BTH.detach()
        return torch.tensor(value, dtype=torch.float32, device=sent_BTH.device)

    @staticmethod
    def backward(ctx: _Context, _: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.pipeline.receive(ctx.like, by=ctx.pipeline.rank + 1), None, None

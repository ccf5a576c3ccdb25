"""How the hidden states of a forward, and their gradients in a backward, go from one stage of a model to the next.

Legend: B batch, T tokens, H hidden size.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from nmlab.trials.models.prunable import decoder_blocks
from nmlab.trials.models.stage import Stage
from nmlab.trials.parallel.pipeline_group import PipelineGroup


class PipelineHooks:
    """Hooks on one trial's module tree: its first own block takes over from the stage before, its last hands on.

    Whatever calls the module makes a forward of the whole crew of it; all members must then call it.
    """

    def __init__(self, module: PreTrainedModel, *, stage: Stage, pipeline: PipelineGroup) -> None:
        assert (stage.index, stage.count) == (pipeline.rank, pipeline.size)
        self._stage, self._pipeline = stage, pipeline
        self._given_BTH: Tensor | None = None
        self._is_still = False
        blocks = decoder_blocks(module)[1]
        if not stage.is_first:
            blocks[stage.blocks[0]].register_forward_pre_hook(self._take, with_kwargs=True)
        if not stage.is_last:
            blocks[stage.blocks[-1]].register_forward_hook(self._give)

    def receive(self, like_BTH: Tensor) -> Tensor:
        """Return the hidden states that the stage before gives, in the shape of those that stand in for them here."""
        if torch.is_grad_enabled():
            anchor = torch.empty(0, requires_grad=True)  # a function has a backward only if an input of it has one
            received_BTH: Tensor = _Receive.apply(anchor, like_BTH, self._pipeline)  # type: ignore[no-untyped-call]
            return received_BTH
        return self._pipeline.receive(like_BTH, by=self._pipeline.rank - 1)

    def give(self, hidden_BTH: Tensor) -> None:
        """Hand hidden states to the next stage; the backward of ``loss`` brings their gradient."""
        self._pipeline.send(hidden_BTH, to=self._pipeline.rank + 1)
        self._given_BTH = hidden_BTH if hidden_BTH.requires_grad else None

    def loss(self, compute: Callable[[], Tensor]) -> Tensor:
        """Return the loss, a scalar: on the last stage ``compute()``, on the others its value as they are told it.

        Their backward begins with the gradient of what they handed on. Whatever a loss is multiplied by before its
        backward must be the same on all stages, and is applied by the last.
        """
        last = self._pipeline.size - 1
        if self._stage.is_last:
            computed = compute()
            self._pipeline.broadcast(float(computed.detach()), by=last)
            return computed
        told = self._pipeline.broadcast(0.0, by=last)
        given_BTH, self._given_BTH = self._given_BTH, None
        assert given_BTH is not None, "nothing that is learned was handed on"
        loss: Tensor = _Loss.apply(given_BTH, told, self._pipeline)  # type: ignore[no-untyped-call]
        return loss

    @contextmanager
    def still(self) -> Iterator[None]:
        """Have the module run without a word to the neighbours."""
        self._is_still = True
        try:
            yield
        finally:
            self._is_still = False

    def _take(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._is_still:
            return None
        if args:
            return (self.receive(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": self.receive(kwargs["hidden_states"])}

    def _give(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        if self._is_still:
            return None
        self.give(output[0] if isinstance(output, tuple) else output)
        # What the rest of the module makes of it here is of no use to anyone, so it needs no backward.
        return (output[0].detach(), *output[1:]) if isinstance(output, tuple) else output.detach()


class _Receive(torch.autograd.Function):
    """Hidden states from the stage before; their gradient goes back to it."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, like_BTH: Tensor, pipeline: PipelineGroup) -> Tensor:
        ctx.pipeline = pipeline
        return pipeline.receive(like_BTH, by=pipeline.rank - 1)

    @staticmethod
    def backward(ctx: Any, gradient_BTH: Tensor) -> tuple[None, ...]:
        ctx.pipeline.send(gradient_BTH, to=ctx.pipeline.rank - 1)
        return None, None, None


class _Loss(torch.autograd.Function):
    """The loss as the last stage told it; its backward waits for the gradient of what was handed on."""

    @staticmethod
    def forward(ctx: Any, given_BTH: Tensor, told: float, pipeline: PipelineGroup) -> Tensor:
        ctx.pipeline = pipeline
        ctx.like = given_BTH.detach()
        return torch.tensor(told, dtype=torch.float32, device=given_BTH.device)

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.pipeline.receive(ctx.like, by=ctx.pipeline.rank + 1), None, None

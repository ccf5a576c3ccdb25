"""The loss of a minibatch whose sequences go through a model a few at a time, with its gradient."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

# (weights by name, tokens) -> summed loss of the tokens, float32 or float64, differentiable in the weights.
SummedLoss = Callable[[Mapping[str, Tensor], Tensor], Tensor]


def chunked_mean(
    summed: SummedLoss, weights: Mapping[str, Tensor], parts: Sequence[Tensor], *, predictions: int
) -> Tensor:
    """Return the losses of all parts over ``predictions``: a float32 scalar, differentiable (once) in ``weights``.

    The autograd graph of a part is freed before the next one is built: its gradient is computed at once and added to
    the sum, in order and in float32. Memory is that of one part and of the gradient of each weight.
    """
    names, tensors = list(weights), list(weights.values())
    loss = _Chunked.apply(summed, names, list(parts), predictions, *tensors)  # type: ignore[no-untyped-call]
    assert isinstance(loss, Tensor)
    return loss


class _Context(Protocol):
    """What torch gives to a forward, and what that keeps for its backward."""

    needs_input_grad: tuple[bool, ...]
    gradients: list[Tensor | None]


class _Chunked(torch.autograd.Function):
    """Computes the gradients in the forward; the backward only multiplies them by the gradient of the loss."""

    @staticmethod
    def forward(
        ctx: _Context, summed: SummedLoss, names: list[str], parts: list[Tensor], predictions: int, *weights: Tensor
    ) -> Tensor:
        wanted = [index for index, needed in enumerate(ctx.needs_input_grad[4:]) if needed]
        sums: list[Tensor | None] = [None] * len(weights)
        total = 0.0
        for part in parts:
            leaves = [tensor.detach().requires_grad_(index in wanted) for index, tensor in enumerate(weights)]
            with torch.set_grad_enabled(bool(wanted)):
                loss = summed(dict(zip(names, leaves, strict=True)), part)
            total += float(loss.detach())
            if wanted:
                of = [leaves[index] for index in wanted]
                for index, gradient in zip(wanted, torch.autograd.grad(loss, of, allow_unused=True), strict=True):
                    sums[index] = _added(sums[index], gradient)
        ctx.gradients = [
            None if each is None else (each / predictions).to(weight.dtype)
            for each, weight in zip(sums, weights, strict=True)
        ]
        return torch.tensor(total / predictions, dtype=torch.float32, device=weights[0].device)

    @staticmethod
    def backward(ctx: _Context, *outer: Tensor) -> tuple[Tensor | None, ...]:
        scaled = [None if each is None else each * outer[0].to(each.dtype) for each in ctx.gradients]
        ctx.gradients = []
        return (None, None, None, None, *scaled)


def _added(before: Tensor | None, gradient: Tensor | None) -> Tensor | None:
    if gradient is None:
        return before
    return gradient.float() if before is None else before.add_(gradient)

"""The gradient of the mean loss with respect to a mask of real numbers, as if each weight could be kept in part.

Memory: one float32 a prunable weight for the sums and the masked weights in the model's type, beside the activations of
one minibatch and the gradient of one layer.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.measure.cost import Cost
from nmlab.trials.models import MaskedModel

_SCALE = 128.0  # of the loss before its backward, so that float16 does not underflow; a power of 2 rounds nothing


def mask_gradient(
    model: MaskedModel, masks_OI: Iterable[tuple[str, Tensor]], batches: Sequence[Tensor], *, cost: Cost
) -> dict[str, Tensor]:
    """Return dL/dm of every layer at a mask m, float32 [out, in]; L is the mean loss of the minibatches.

    A forward and a backward for each minibatch are counted in ``cost``. Gradients have the model's own type, and are
    summed in float32.

    Args:
        model: the masked model; its masks are removed.
        masks_OI: name and mask of every prunable layer, real numbers [out, in] on the model's device, read one by one.
        batches: minibatches of tokens, int64 [B, T].
        cost: the account.

    Raises ``DivergedError`` if a loss or the gradient is not finite.
    """
    model.remove_masks()
    leaves = {name: _masked_leaf(model, name, mask_OI) for name, mask_OI in masks_OI}
    sums = {name: torch.zeros_like(leaf, dtype=torch.float32) for name, leaf in leaves.items()}
    for name, leaf in leaves.items():
        leaf.register_post_accumulate_grad_hook(_adder(sums[name]))  # type: ignore[no-untyped-call]
    for number, tokens in enumerate(batches):
        with torch.enable_grad():
            loss = model.loss_under({f"{name}.weight": leaf for name, leaf in leaves.items()}, tokens)
            if not bool(loss.isfinite()):
                raise DivergedError(f"the mask has the loss {loss.item()} on calibration minibatch {number}")
            torch.autograd.backward(loss * _SCALE)
        cost.count_forward(tokens.numel())
        cost.backwards += 1
    for name, sum_OI in sums.items():
        weight_OI = model.frozen.module.get_parameter(f"{name}.weight").detach()
        sum_OI.mul_(weight_OI).div_(_SCALE * len(batches))
    _check_finite(model, sums)
    return sums


@torch.no_grad()
def _masked_leaf(model: MaskedModel, name: str, mask_OI: Tensor) -> Tensor:
    (masked_OI,) = model.masked_weights({name: mask_OI}).values()
    return masked_OI.requires_grad_()


def _adder(sum_OI: Tensor) -> Callable[[Tensor], None]:
    def add(leaf: Tensor) -> None:
        assert leaf.grad is not None
        sum_OI.add_(leaf.grad)
        leaf.grad = None  # at once, so that only one layer's gradient exists at a time

    return add


def _check_finite(model: MaskedModel, gradients: Mapping[str, Tensor]) -> None:
    """Raise on all ranks of a pipeline group where the gradient of any of them is not finite."""
    faulty = sum(not bool(gradient_OI.isfinite().all()) for gradient_OI in gradients.values())
    if layers := model.pipeline.all_reduce_count(faulty):
        raise DivergedError(f"the gradient of the loss with respect to the mask is not finite in {layers} layers")

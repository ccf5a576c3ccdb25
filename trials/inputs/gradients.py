"""Norms of weight gradients over the calibration sequences, shared by all methods and trials that ask for them.

Memory: while they are gathered, one float32 a prunable weight on the model's device beside the activations of one
sequence and the gradient of one layer; afterwards one float32 a prunable weight in host memory, kept by the replica.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from nmlab.trials.context.trial_context import TrialContext
from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.measure.cost import Cost
from nmlab.trials.models import FrozenModel, MaskedModel
from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS, PipelineGroup

SCALE = 100.0
"""The factor by which the code of GBLM-Pruner and Pruner-Zero multiplies every gradient."""


def gradient_norms(context: TrialContext) -> Mapping[str, Tensor]:
    """Return sqrt(sum_s (100 dL_s/dW)^2) of every prunable layer of the dense model, float32 [out, in] on the CPU.

    L_s is the mean next-token cross-entropy of calibration sequence s. Every trial is charged for the passes, whichever
    trial computed them, so that costs are comparable. Raises ``DivergedError`` if a loss is not finite.
    """
    frozen, batches = context.replica.frozen, context.batches

    def collect(cost: Cost) -> dict[str, Tensor]:
        sequences = sum(len(batch) for batch in batches)
        cost.forwards += sequences
        cost.backwards += sequences
        cost.tokens += sum(batch.numel() for batch in batches)
        return collect_gradient_norms(frozen, batches, pipeline=context.model.pipeline)

    return context.share(("gradient norms", context.calibration), collect)


def collect_gradient_norms(
    frozen: FrozenModel, batches: Sequence[Tensor], *, pipeline: PipelineGroup = SINGLE_PROCESS
) -> dict[str, Tensor]:
    """Compute ``gradient_norms`` with a forward and a backward for every sequence of ``batches`` ([B, T] each).

    Gradients have the model's own dtype; they are squared and summed in float32.
    """
    model = MaskedModel(frozen, pipeline=pipeline)
    leaves = {f"{layer.name}.weight": _leaf(frozen, layer.name) for layer in frozen.layers}
    squares = {name: torch.zeros_like(leaf, dtype=torch.float32) for name, leaf in leaves.items()}
    for name, leaf in leaves.items():
        leaf.register_post_accumulate_grad_hook(_adder(squares[name]))  # type: ignore[no-untyped-call]
    for number, sequence_1T in enumerate(sequence[None] for batch in batches for sequence in batch):
        with torch.enable_grad():
            loss = model.loss_under(leaves, sequence_1T)
            if not bool(loss.isfinite()):
                raise DivergedError(f"the dense model has the loss {loss.item()} on calibration sequence {number}")
            torch.autograd.backward(loss * SCALE)  # scaled before and not after, so that float16 does not underflow
    return {layer.name: squares[f"{layer.name}.weight"].sqrt_().cpu() for layer in frozen.layers}


def in_precision_of(norm: Tensor, *, compat: str) -> Tensor:
    """Return float32 norms as they are, or for ``compat="official"`` as float16 holds them."""
    return norm.half().float() if compat == "official" else norm


def _leaf(frozen: FrozenModel, name: str) -> Tensor:
    """Return a tensor over the memory of a frozen weight, which is only read; the shared parameter gets no gradient."""
    weight: Tensor = frozen.module.get_parameter(f"{name}.weight")
    return weight.detach().requires_grad_()


def _adder(square: Tensor) -> Callable[[Tensor], None]:
    def add(leaf: Tensor) -> None:
        assert leaf.grad is not None
        square.add_(leaf.grad.float().square())
        leaf.grad = None  # at once, so that only one layer's gradient exists at a time

    return add

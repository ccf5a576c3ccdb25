"""Let the layers of a module tree multiply each sequence of a minibatch with the weights of its own mask.

Legend: K sequences, T tokens, O outputs, I inputs.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from nmlab.trials.models.masked_weight import MaskedWeight
from nmlab.trials.models.sequences.correction import Correction, corrections_of
from nmlab.trials.models.sequences.deviations import LayerDeviations
from nmlab.trials.models.sequences.own import own_products
from nmlab.trials.models.sequences.ways import Way, choose_way


@contextmanager
def masked_by_sequence(
    masked: Mapping[str, MaskedWeight],
    deviations: Mapping[str, LayerDeviations],
    *,
    tokens: int,
    way: Way | None = None,
) -> Iterator[None]:
    """Let each layer named in ``deviations`` apply the masks of sequence k to sequence k, as long as the context lasts.

    The forward of the module tree must get exactly these sequences of ``tokens`` tokens, and compute no gradient.
    ``way`` is for all layers; None chooses one for each.
    """
    ways = {name: way or _chosen(masked[name], each, tokens=tokens) for name, each in deviations.items()}
    names = [name for name in deviations if ways[name] == "corrected"]
    corrections = corrections_of([(masked[name], deviations[name]) for name in names]) if names else []
    by_name = dict(zip(names, corrections, strict=True))
    with ExitStack() as stack:
        for name, of_layer in deviations.items():
            for linear in masked[name].linears:
                layer = _Layer(linear, masked[name], of_layer, by_name.get(name), tokens)
                stack.enter_context(_replaced(linear, layer.forward))
        yield


def _chosen(masked: MaskedWeight, deviations: LayerDeviations, *, tokens: int) -> Way:
    outputs, inputs = masked.dense_OI.shape
    return choose_way(
        deviations.count,
        sequences=deviations.sequences,
        tokens=tokens,
        shape=(outputs, inputs),
        device=masked.dense_OI.device,
    )


@contextmanager
def _replaced(linear: nn.Linear, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    # An attribute of the instance is found before the method of the class; there may be one already.
    before = vars(linear).get("forward")
    linear.forward = forward  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del linear.forward
        if before is not None:
            linear.forward = before  # type: ignore[method-assign]


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer whose sequences have their own masks: by a correction, or where there is none by their own weights."""

    linear: nn.Linear
    masked: MaskedWeight
    deviations: LayerDeviations
    correction: Correction | None
    tokens: int

    def forward(self, inputs: Tensor) -> Tensor:
        outputs, features = self.masked.dense_OI.shape
        sequences, got = self.deviations.sequences, inputs.numel() // features
        if got != sequences * self.tokens:
            raise ValueError(
                f"a layer of {features} inputs got {got} tokens, expected {self.tokens} of each of {sequences} "
                "sequences: this model cannot apply masks to single sequences"
            )
        inputs_KTI, applied_OI = inputs.reshape(sequences, self.tokens, features), self.masked.masked_OI
        if self.correction is None:
            outputs_KTO = own_products(
                inputs_KTI,
                self.masked.dense_OI,
                applied_OI=applied_OI,
                bias_O=self.linear.bias,
                deviations=self.deviations,
            )
        else:
            outputs_KTO = F.linear(inputs_KTI, applied_OI, self.linear.bias)
            self.correction.add_to(outputs_KTO, inputs_KTI)
        return outputs_KTO.view(*inputs.shape[:-1], outputs)

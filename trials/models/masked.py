"""One trial's own view of a frozen model: every tensor shared, except the masked weights it wears.

Legend: B batch, T tokens, V vocabulary, O outputs, I inputs.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nmlab.trials.models.frozen import FrozenModel


class MaskedModel:
    """A frozen model under a mask.

    The weights are masked when the mask changes and not in the forward, so a forward costs what the dense one costs.
    A trial pays for its own copy of the prunable weights only.
    """

    def __init__(self, frozen: FrozenModel) -> None:
        self.frozen = frozen
        self.module = frozen.view()
        self._dense = {layer.name: _linear(frozen.module, layer.name).weight for layer in frozen.layers}
        self._worn: dict[str, Tensor] = {}

    @property
    def bytes(self) -> int:
        """Bytes of the weights that belong to this view alone."""
        return sum(weight.numel() * weight.element_size() for weight in self._worn.values())

    @torch.no_grad()
    def wear(self, masks_OI: Mapping[str, Tensor], *, weights_OI: Mapping[str, Tensor] | None = None) -> None:
        """Replace the weight of each named layer by dense weight times mask (boolean [out, in]).

        Where ``weights_OI`` has a weight for the layer, that one is masked in place of the dense one.
        """
        for name, mask_OI in masks_OI.items():
            weight_OI = (weights_OI or {}).get(name, self._dense[name])
            torch.mul(weight_OI, mask_OI, out=self._own(name))

    def undress(self) -> None:
        """Return to the dense weights and give the private copies back."""
        for name, weight in self._dense.items():
            _linear(self.module, name).weight = weight
        self._worn.clear()

    @torch.no_grad()
    def loss(self, tokens_BT: Tensor) -> float:
        """Return the mean next-token cross-entropy in nats over all B*(T-1) predictions, computed in float32."""
        return float(self.token_losses(tokens_BT).mean())

    @torch.no_grad()
    def token_losses(self, tokens_BT: Tensor) -> Tensor:
        """Return the next-token cross-entropy in nats of each prediction, [B, T-1], float32."""
        tokens_BT = tokens_BT.to(self.frozen.device)
        return _token_losses(self.module(input_ids=tokens_BT, use_cache=False).logits, tokens_BT)

    def masked_weights(self, masks_OI: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return dense weight times mask (any real numbers [out, in] by layer) under the names of the parameters.

        Differentiable in the masks. The product is taken in float32 and has the model's type.
        """
        return {
            f"{name}.weight": (self._dense[name] * mask_OI.float()).to(self._dense[name].dtype)
            for name, mask_OI in masks_OI.items()
        }

    def loss_under(self, weights: Mapping[str, Tensor], tokens_BT: Tensor) -> Tensor:
        """Return the loss of ``loss`` as a scalar that is differentiable in ``weights``.

        ``weights`` stand in, for this one forward, for the parameters whose qualified names they bear; the others are
        those of the frozen model or what this view wears, and get no gradient.
        """
        tokens_BT = tokens_BT.to(self.frozen.device)
        arguments = {"input_ids": tokens_BT, "use_cache": False}
        output = torch.func.functional_call(self.module, dict(weights), kwargs=arguments)
        return _token_losses(output.logits, tokens_BT).mean()

    def _own(self, name: str) -> Tensor:
        if name not in self._worn:
            self._worn[name] = torch.empty_like(self._dense[name])
            _linear(self.module, name).weight = nn.Parameter(self._worn[name], requires_grad=False)
        return self._worn[name]


def _linear(module: nn.Module, name: str) -> nn.Linear:
    linear = module.get_submodule(name)
    assert isinstance(linear, nn.Linear)
    return linear


def _token_losses(logits_BTV: Tensor, tokens_BT: Tensor) -> Tensor:
    """[B, T-1] float32: logits at position t predict the token at t+1."""
    predicted = logits_BTV[:, :-1].float().flatten(0, 1)
    losses = F.cross_entropy(predicted, tokens_BT[:, 1:].flatten(), reduction="none")
    return losses.view(tokens_BT.shape[0], -1)

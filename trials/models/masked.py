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
    def wear(self, masks_OI: Mapping[str, Tensor]) -> None:
        """Replace the weight of each named layer by dense weight times mask (boolean [out, in])."""
        for name, mask_OI in masks_OI.items():
            torch.mul(self._dense[name], mask_OI, out=self._own(name))

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
        logits_BTV = self.module(input_ids=tokens_BT, use_cache=False).logits[:, :-1].float()
        losses = F.cross_entropy(logits_BTV.flatten(0, 1), tokens_BT[:, 1:].flatten(), reduction="none")
        return losses.view(tokens_BT.shape[0], -1)

    def _own(self, name: str) -> Tensor:
        if name not in self._worn:
            self._worn[name] = torch.empty_like(self._dense[name])
            _linear(self.module, name).weight = nn.Parameter(self._worn[name], requires_grad=False)
        return self._worn[name]


def _linear(module: nn.Module, name: str) -> nn.Linear:
    linear = module.get_submodule(name)
    assert isinstance(linear, nn.Linear)
    return linear

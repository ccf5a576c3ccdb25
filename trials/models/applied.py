"""Masks applied to an ordinary model of transformers, in place.

A trial never does this: its model is frozen and shared, and a view of it is masked (`masked.py`).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from nmlab.trials.contract.near_names import hint
from nmlab.trials.masks.bundle import BundleInfo
from nmlab.trials.models.frozen import weights_digest


@torch.no_grad()
def apply_in_place(
    model: nn.Module, masks_OI: Mapping[str, Tensor], *, weights_OI: Mapping[str, Tensor] | None
) -> None:
    """Set the weights that masks (boolean [out, in] by layer) drop to 0, in the parameters themselves.

    Where ``weights_OI`` has a weight for a layer, it replaces the model's first. Everything is checked before anything
    is written. Raises ``ValueError`` for a layer that the model lacks, that is no ``nn.Linear``, or has another shape.
    """
    linears = {name: each for name, each in model.named_modules() if isinstance(each, nn.Linear)}
    parameters = {name: _weight(linears, name, shape=mask.shape) for name, mask in masks_OI.items()}
    for name, weight_OI in parameters.items():
        if weights_OI is not None and name in weights_OI:
            weight_OI.copy_(weights_OI[name])
        weight_OI.masked_fill_(~masks_OI[name].to(weight_OI.device), 0.0)


def check_digest(model: nn.Module, *, info: BundleInfo) -> None:
    """Raise ``ValueError`` unless a model has exactly the weights that a mask was made for."""
    found = weights_digest(model)
    if found != info.model_digest:
        dtype = next((str(weight.dtype).removeprefix("torch.") for weight in model.parameters()), "unknown")
        raise ValueError(
            f"the mask was made for the weights {info.model_digest} of {info.model_source}, this model in {dtype} has "
            f"{found}; load it in the number type of the trial, or give other_weights=True"
        )


def _weight(linears: Mapping[str, nn.Linear], name: str, *, shape: torch.Size) -> Tensor:
    if name not in linears:
        raise ValueError(f"the mask is not for this model, which has no linear layer {name!r}{hint(name, linears)}")
    weight = linears[name].weight
    if weight.shape != shape:
        raise ValueError(
            f"the mask is not for this model: {name} is {tuple(shape)} in the mask, {tuple(weight.shape)} here"
        )
    return weight

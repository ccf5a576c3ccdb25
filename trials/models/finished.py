"""The mask of a finished trial, with the new weights if its method changed them, loaded and applied to a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nmlab.trials.contract.run_artifacts import MASK_FILE, WEIGHTS_FILE
from nmlab.trials.masks.bundle import BundleInfo, read_bundle, save_bundle
from nmlab.trials.masks.weights import load_weights, save_weights
from nmlab.trials.models import FrozenModel, MaskedModel

WEIGHTS = "weights"  # in a bundle's origin: the file of new weights, without which the mask is not what was evaluated


@dataclass(frozen=True, eq=False)
class FinishedMask:
    """Masks (boolean [out, in] by layer) and the weights [out, in] that replace the model's, or None for its own."""

    masks: Mapping[str, Tensor]
    weights: Mapping[str, Tensor] | None
    info: BundleInfo

    def apply_to(self, model: MaskedModel) -> None:
        """Apply masks and weights to a model; raises ``ValueError`` where the mask was made for another one."""
        check_fits(self.masks, info=self.info, frozen=model.frozen)
        device = model.frozen.device
        weights = {name: weight.to(device) for name, weight in (self.weights or {}).items()}
        model.remove_masks()
        model.apply_masks({name: mask.to(device) for name, mask in self.masks.items()}, weights_OI=weights)


def load_finished(target: Path) -> FinishedMask:
    """Read a mask bundle, or the folder that holds one, with the file of new weights beside it if there is one.

    Raises ``ValueError`` for a file that is missing, damaged (naming the tensor) or of another trial.
    """
    path = target / MASK_FILE if target.is_dir() else target
    bundle = read_bundle(path)
    if WEIGHTS not in bundle.origin:
        return FinishedMask(bundle.masks, None, bundle.info)
    beside = path.with_name(bundle.origin[WEIGHTS])
    if not beside.is_file():
        raise ValueError(f"{path}: {bundle.info.method} changed the weights; expected them beside it, in {beside.name}")
    return FinishedMask(bundle.masks, load_weights(beside, masks=bundle.masks, info=bundle.info), bundle.info)


def check_fits(masks: Mapping[str, Tensor], *, info: BundleInfo, frozen: FrozenModel) -> None:
    """Raise ``ValueError`` unless masks have the layers and shapes of a model and were made for exactly its weights."""
    shapes = {layer.name: (layer.out_features, layer.in_features) for layer in frozen.all_layers}
    if masks.keys() != shapes.keys():
        wrong = sorted(masks.keys() ^ shapes.keys())[0]
        raise ValueError(f"the mask is not for {frozen.source.source}: layer {wrong!r} is in one of the two only")
    for name, mask in masks.items():
        if tuple(mask.shape) != shapes[name]:
            raise ValueError(f"the mask is not for {frozen.source.source}: {name} is {tuple(mask.shape)} in the mask")
    if info.model_digest != frozen.digest:
        raise ValueError(
            f"the mask was made for the weights {info.model_digest} of {info.model_source}, not for {frozen.digest}"
        )


def save_finished(path: Path, finished: FinishedMask, *, model: Mapping[str, object]) -> None:
    """Write a mask bundle, and new weights beside it if there are any; ``load_finished`` reads both.

    ``model`` are the settings of the mask's model beside its source. Raises ``ValueError`` where a file of that name
    is there already, and ``OSError`` where it cannot be written.
    """
    origin: dict[str, object] = {"model": dict(model)}
    beside = path.with_name(WEIGHTS_FILE)
    for file in (path, *((beside,) if finished.weights is not None else ())):
        if file.exists():
            raise ValueError(f"{str(file)!r} exists already; give another file or folder")
    if finished.weights is not None:  # the weights first: a mask that refers to them never exists without them
        save_weights(beside, finished.weights, masks=finished.masks, info=finished.info)
        origin[WEIGHTS] = WEIGHTS_FILE
    save_bundle(path, finished.masks, info=finished.info, origin=origin)

"""`mask`: the mask alone, one bit a weight, and a file of new weights where the method changed them."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from nmlab.trials.contract.model_settings import origin_of
from nmlab.trials.contract.run_artifacts import MASK_FILE, WEIGHTS_FILE
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.export.exporter import Exporter
from nmlab.trials.export.subject import Subject, linear_of
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.bundle import BundleInfo, save_bundle
from nmlab.trials.masks.weights import save_weights
from nmlab.trials.models import MaskedModel
from nmlab.trials.models.finished import WEIGHTS, load_finished


class MaskBundle(Exporter):
    """nmlab's own format; the mask of a pruned checkpoint is written with that checkpoint's weights."""

    name = "mask"
    about = "the mask, 1 bit a weight; needs the base model"

    def write(self, subject: Subject, folder: Path) -> JsonObject:
        masks, pattern = subject.masks()
        frozen = subject.model.frozen
        info = BundleInfo(frozen.source.source, frozen.digest, str(pattern), "external", masks_digest(masks))
        weights = None
        if subject.finished is not None:
            info, weights = subject.finished.info, subject.finished.weights
        origin: JsonObject = {"model": origin_of(frozen.source)}
        if weights is not None:
            save_weights(folder / WEIGHTS_FILE, weights, masks=masks, info=info)
            origin[WEIGHTS] = WEIGHTS_FILE
        save_bundle(folder / MASK_FILE, masks, info=info, origin=origin)
        return {"files": [MASK_FILE, *([WEIGHTS_FILE] if weights is not None else [])]}

    def read_weights(self, subject: Subject, folder: Path) -> Mapping[str, Tensor]:
        masked = self._masked(subject, folder)
        layers = subject.model.frozen.layers
        return {at.name: linear_of(masked.module, at.name).weight.detach().cpu() + 0.0 for at in layers}

    def read_logits(self, subject: Subject, folder: Path, tokens_BT: Tensor) -> Tensor:
        logits: Tensor = self._masked(subject, folder).module(input_ids=tokens_BT, use_cache=False).logits
        return logits

    def _masked(self, subject: Subject, folder: Path) -> MaskedModel:
        model = MaskedModel(subject.model.frozen)
        load_finished(folder).apply_to(model)
        return model

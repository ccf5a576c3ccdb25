"""What `nmlab evaluate` and `export` work on: a finished trial, a mask bundle, published masks, or any checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.model_settings import model_source
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.run_artifacts import MASK_FILE, RECORD_FILE
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.export.maskllm import read_maskllm
from nmlab.trials.export.sparsity import Sparsity, kept, sparsity
from nmlab.trials.files.checked_json import DamagedFileError, NewerFormatError
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.bundle import BundleInfo, read_bundle
from nmlab.trials.models import FrozenModel, MaskedModel, ModelSource
from nmlab.trials.models.finished import FinishedMask, load_finished
from nmlab.trials.trial.artifacts import read_record

Kind = Literal["trial", "mask", "maskllm", "checkpoint"]


@dataclass(frozen=True, eq=False)
class Base:
    """The model that a mask is applied to; fields that are None are taken from the mask's own record."""

    source: str | None = None
    revision: str | None = None
    dtype: str | None = None
    leave_dense: tuple[str, ...] = ()

    def over(self, own: ModelSource) -> ModelSource:
        """Return ``own`` with what is given here in its place."""
        given = {name: value for name, value in vars(self).items() if value}
        return model_source({**own.model_dump(), **given}, from_record=True)


@dataclass(frozen=True, eq=False)
class Subject:
    """A model with its masks applied. ``finished`` is the mask, None for a checkpoint and for the dense model.

    ``spec`` is the trial that found the mask, where its record lies beside it.
    """

    kind: Kind
    model: MaskedModel
    finished: FinishedMask | None = None
    spec: TrialSpec | None = None

    def weights(self) -> dict[str, Tensor]:
        """Return the weight [out, in] of every prunable layer as the model computes with it."""
        layers = self.model.frozen.layers
        return {layer.name: linear_of(self.model.module, layer.name).weight.detach() for layer in layers}

    def sparsity(self) -> Sparsity:
        """Return the pattern that the weights follow, found from their zeros."""
        return sparsity(self.weights())

    def masks(self) -> tuple[Mapping[str, Tensor], Pattern]:
        """Return the mask of every layer and their pattern; raises ``SourceError`` where the model follows none."""
        if self.finished is not None:
            return self.finished.masks, Pattern.parse(self.finished.info.pattern)
        found = self.sparsity()
        if found.pattern is None:
            dense = ", ".join(found.others[:3]) or "the layers share none"
            raise SourceError(f"{self.model.frozen.source.source} follows no N:M pattern: {dense}")
        return {name: kept(weight, found.pattern).cpu() for name, weight in self.weights().items()}, found.pattern


def linear_of(tree: nn.Module, name: str) -> nn.Linear:
    """Return a linear layer by its qualified name."""
    linear = tree.get_submodule(name)
    assert isinstance(linear, nn.Linear)
    return linear


def open_subject(target: str, *, base: Base, device: torch.device | str = "cpu") -> Subject:
    """Load a model as ``target`` says: a trial's folder, a mask bundle, an npz of MaskLLM, or a checkpoint.

    Raises ``ValueError`` for what is none of these, is damaged, or does not fit the base model.
    """
    path = Path(target).expanduser()
    if path.is_dir() and (path / RECORD_FILE).is_file():
        return _trial(path, base, device)
    if path.is_dir() and (path / MASK_FILE).is_file():
        return _mask(path / MASK_FILE, base, device)
    if path.is_file() and path.suffix == ".npz":
        return _maskllm(path, base, device)
    if path.is_file():
        return _mask(path, base, device)
    if base.source is not None:
        raise SourceError(f"{target!r} is no mask, so it has no base model; --model is for masks")
    return Subject("checkpoint", MaskedModel(FrozenModel.load(base.over(ModelSource(source=target)), device=device)))


def read_masks(target: str, *, base: Base) -> tuple[Mapping[str, Tensor], Pattern]:
    """Return the masks of a target, by layer, and their pattern; the model is loaded only where it is needed.

    Raises ``ValueError`` as ``open_subject`` does, and for a target without an N:M mask.
    """
    path = Path(target).expanduser()
    bundle = path / MASK_FILE if path.is_dir() else path
    if bundle.is_file() and bundle.suffix == ".safetensors":
        found = read_bundle(bundle)
        return found.masks, Pattern.parse(found.info.pattern)
    return open_subject(target, base=base).masks()


def _trial(folder: Path, base: Base, device: torch.device | str) -> Subject:
    record = _record(folder / RECORD_FILE)
    spec = TrialSpec.from_record(record["spec"])
    frozen = FrozenModel.load(base.over(spec.model), device=device)
    if frozen.digest != record["model_digest"]:
        raise SourceError(
            f"{folder}: the trial ran on the weights {record['model_digest']} of {spec.model.source}, "
            f"{frozen.source.source} in {frozen.source.dtype} has {frozen.digest}"
        )
    if spec.method == "dense":
        return Subject("trial", MaskedModel(frozen), None, spec)
    return _masked("trial", frozen, load_finished(folder), spec=spec)


def _record(path: Path) -> JsonObject:
    try:
        record = read_record(path)
        TrialSpec.from_record(record["spec"])
        str(record["model_digest"])
    except (DamagedFileError, NewerFormatError) as error:
        raise SourceError(str(error)) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SourceError(f"{path} is no record of a trial ({reason})") from error
    return dict(record)


def _mask(path: Path, base: Base, device: torch.device | str) -> Subject:
    beside = path.with_name(RECORD_FILE)
    bundle = read_bundle(path)
    if beside.is_file() and _record(beside).get("key") == bundle.info.trial_key:
        return _trial(path.parent, base, device)
    own = bundle.origin.get("model", {})
    own = own if isinstance(own, dict) else {}  # the file of an initial mask names its model only
    settings = {name: own[name] for name in ("revision", "dtype", "leave_dense") if name in own}
    source = model_source({"source": bundle.info.model_source, **settings}, from_record=True)
    frozen = FrozenModel.load(base.over(source), device=device)
    return _masked("mask", frozen, load_finished(path), spec=None)


def _maskllm(path: Path, base: Base, device: torch.device | str) -> Subject:
    if base.source is None:
        raise SourceError(f"{path}: MaskLLM's files do not say for which model they are; give it with --model")
    frozen = FrozenModel.load(base.over(ModelSource(source=base.source)), device=device)
    masks, pattern = read_maskllm(path, frozen=frozen)
    info = BundleInfo(frozen.source.source, frozen.digest, str(pattern), "maskllm", masks_digest(masks))
    return _masked("maskllm", frozen, FinishedMask(masks, None, info), spec=None)


def _masked(kind: Kind, frozen: FrozenModel, finished: FinishedMask, *, spec: TrialSpec | None) -> Subject:
    model = MaskedModel(frozen)
    finished.apply_to(model)
    return Subject(kind, model, finished, spec)

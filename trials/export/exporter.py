"""The interface of exporters; every export is written atomically, read back, and compared with its model.

Legend: B sequences, T tokens, V vocabulary.
"""

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from nmlab.trials.contract.model_settings import settings_of
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.export.subject import Subject, linear_of
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.models.context_length import longest_context

FACTS = "nmlab.json"
_PROBE = (2, 24)  # sequences and tokens whose logits are compared


class ExportError(RuntimeError):
    """Raised when an export, read back, differs from the model it was made from."""


@dataclass(frozen=True)
class Verification:
    """The result of reading back: largest difference of a logit, allowed difference, and number of layers."""

    largest_difference: float
    tolerance: float
    layers: int


class Exporter(ABC):
    """A format; a folder is written to a temporary place, read back, and moved once it has been verified."""

    name: ClassVar[str]
    about: ClassVar[str]
    tolerance: ClassVar[float] = 0.0

    def unsupported_reason(self, subject: Subject) -> str | None:
        """Return why this format cannot be written of this model on this machine, or None."""
        return None

    @abstractmethod
    def write(self, subject: Subject, folder: Path) -> JsonObject:
        """Write into an empty folder; return facts about the export for the user, as plain JSON."""

    @abstractmethod
    def read_weights(self, subject: Subject, folder: Path) -> Mapping[str, Tensor]:
        """Return the weight [out, in] of every prunable layer as the files hold it."""

    @abstractmethod
    def read_logits(self, subject: Subject, folder: Path, tokens_BT: Tensor) -> Tensor:
        """Return the logits [B, T, V] that a runtime of this format computes from the files."""

    def verify(self, subject: Subject, folder: Path) -> Verification:
        """Compare the files with the model; raises ``ExportError`` naming the first layer that differs."""
        weights = self.read_weights(subject, folder)
        expected = subject.weights()
        for name, weight_OI in expected.items():
            _check_weight(name, weight_OI.cpu(), weights.get(name))
        tokens_BT = probe(subject)
        logits = subject.model.module(input_ids=tokens_BT, use_cache=False).logits.float().cpu()
        found = self.read_logits(subject, folder, tokens_BT).float().cpu()
        largest = float((logits - found).abs().max()) if found.shape == logits.shape else float("inf")
        if not largest <= self.tolerance:
            raise ExportError(f"{self.name}: logits differ by {largest:.3g}, allowed are {self.tolerance:.3g}")
        return Verification(largest, self.tolerance, len(expected))


def export(subject: Subject, exporter: Exporter, *, folder: Path) -> JsonObject:
    """Write and verify an export, then move it into place; return the facts, which are also in its ``nmlab.json``.

    Raises ``ValueError`` where the format cannot be written or the folder exists, and ``ExportError`` where the
    verification fails; nothing is left then.
    """
    if reason := exporter.unsupported_reason(subject):
        raise ValueError(f"{exporter.name}: {reason}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{str(folder)!r} is not an empty folder; give another --output")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _make(partial)
        with torch.no_grad():
            facts = {**describe(subject), "format": exporter.name, **exporter.write(subject, partial)}
            facts["verified"] = asdict(exporter.verify(subject, partial))
        (partial / FACTS).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return facts


def describe(subject: Subject) -> JsonObject:
    """Return the facts on the origin of an export: model, mask and trial."""
    frozen, finished = subject.model.frozen, subject.finished
    masks, pattern = subject.masks()
    return {
        "base_model": {**settings_of(frozen.source), "digest": frozen.digest},
        "pattern": str(pattern),
        "coverage": frozen.coverage.sentence(),
        "left_dense": [left.name for left in frozen.coverage.dense],
        "method": finished.info.method if finished else None,
        "trial_key": finished.info.trial_key if finished else None,
        "mask_digest": masks_digest(masks),
    }


def plain_tree(subject: Subject) -> PreTrainedModel:
    """Return a separate module tree with the weights that the subject computes with, and every zero a +0.0.

    The sign of a product with zero once made a sparse kernel give garbage
    (https://github.com/vllm-project/vllm/pull/13198).
    """
    tree = subject.model.frozen.view()
    assert isinstance(tree, PreTrainedModel)
    weights = subject.weights()
    for layer in subject.model.frozen.layers:
        weight = nn.Parameter(weights[layer.name] + 0.0, requires_grad=False)  # -0.0 + 0.0 is +0.0
        for name in (layer.name, *layer.aliases):
            linear_of(tree, name).weight = weight
    return tree


def probe(subject: Subject) -> Tensor:
    """Return tokens [B, T] on which an export and its model are compared, always the same for one model."""
    frozen = subject.model.frozen
    shape = (_PROBE[0], min(_PROBE[1], longest_context(frozen.module) or _PROBE[1]))
    draw = torch.Generator().manual_seed(0)
    return torch.randint(frozen.vocabulary_size, shape, generator=draw).to(frozen.device)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ValueError(f"{str(folder.parent)!r} cannot be written: {error.strerror}") from error


def _check_weight(name: str, expected_OI: Tensor, found_OI: Tensor | None) -> None:
    if found_OI is None:
        raise ExportError(f"layer {name!r} is not in the files")
    if found_OI.shape != expected_OI.shape or not torch.equal(found_OI, expected_OI):
        raise ExportError(f"layer {name!r} has other weights in the files")
    if bool(((found_OI == 0) & found_OI.signbit()).any()):
        raise ExportError(f"layer {name!r} holds -0.0, which some sparse kernels read as a weight")

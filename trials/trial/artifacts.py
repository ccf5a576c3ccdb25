"""The artifacts of a finished trial: mask, new weights, losses of every evaluation window, curves, and its record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nmlab.trials.contract.model_settings import origin_of
from nmlab.trials.contract.run_artifacts import (
    EVALUATION_FILE,
    INITIAL_VALIDATION_LOSS_SUM,
    INITIAL_WINDOW_LOSS_SUM,
    MASK_FILE,
    RECORD_FILE,
    STEPS_FILE,
    TASKS_FILE,
    VALIDATION_LOSS_SUM,
    VALIDATION_TOKENS,
    VALIDATION_WORDS,
    WEIGHTS_FILE,
    WINDOW_LOSS_SUM,
    WINDOW_TOKENS,
    WINDOW_WORDS,
    neutral_array,
)
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.evaluation import TaskResults
from nmlab.trials.files.checked_json import read_checked, write_checked
from nmlab.trials.files.file_digest import FileDescription, describe_files
from nmlab.trials.masks.bits import pack, unpack
from nmlab.trials.masks.bundle import BundleInfo, save_bundle
from nmlab.trials.masks.weights import save_weights
from nmlab.trials.methods.base import Arrays
from nmlab.trials.models import FrozenModel
from nmlab.trials.models.finished import WEIGHTS
from nmlab.trials.parallel.pipeline_group import PipelineGroup
from nmlab.trials.trial.evaluations import Measured, MeasuredNeutral
from nmlab.trials.trial.history import History

RECORD_FORMAT = 1
_FIRST_RECORD = ("key", "model_digest", "spec", "metrics", "tasks", "notes", "initial_masks")


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedTrial:
    """Everything about a finished trial that is written: the masks of all layers, and what was measured with them."""

    spec: TrialSpec
    frozen: FrozenModel
    masks: Mapping[str, Tensor]
    weights: Mapping[str, Tensor] | None
    measured: Measured
    tasks: TaskResults | None
    history: History | None
    """None for a method without steps."""
    metrics: Mapping[str, float]
    notes: Sequence[str]
    started_from: Mapping[str, JsonObject]
    diagnostics: Mapping[str, Arrays] = field(default_factory=dict)
    """Further arrays of the method, by the name of their file."""


def write_artifacts(folder: Path, trial: FinishedTrial) -> dict[str, FileDescription]:
    """Write every artifact of a finished trial; return size and digest by file name, in order, ``trial.json`` last."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [*_save_evaluations(folder, trial), *_save_masks(folder, trial)]
    if trial.history is not None:
        trial.history.save(folder / STEPS_FILE)
        written.append(STEPS_FILE)
    for name, arrays in trial.diagnostics.items():
        assert name.endswith(".npz"), f"diagnostics are arrays, so {name} must end in .npz"
        assert name not in written, f"{name} is written by every trial"
        np.savez_compressed(folder / name, **arrays)  # type: ignore[arg-type]
        written.append(name)
    write_checked(folder / RECORD_FILE, _record(trial), format=RECORD_FORMAT)
    return describe_files(folder, (*written, RECORD_FILE))


def _record(trial: FinishedTrial) -> JsonObject:
    return {
        "key": trial.spec.key,
        "model_digest": trial.frozen.digest,
        "spec": trial.spec.model_dump(mode="json"),
        "metrics": dict(trial.metrics),
        "coverage": trial.frozen.coverage.sentence(),
        "tasks": None if trial.tasks is None else dict(trial.tasks.facts),
        "notes": list(trial.notes),
        "initial_masks": dict(trial.started_from),
    }


def read_record(path: Path) -> JsonObject:
    """Read the record of a finished trial; raises ``OSError``, or ``ValueError`` naming a damaged file."""
    return read_checked(path, kind="record of a trial", format=RECORD_FORMAT, before=_FIRST_RECORD)


def _save_evaluations(folder: Path, trial: FinishedTrial) -> list[str]:
    save_windows(folder / EVALUATION_FILE, trial.measured)
    if trial.tasks is None:
        return [EVALUATION_FILE]
    save_questions(folder / TASKS_FILE, trial.tasks)
    return [EVALUATION_FILE, TASKS_FILE]


def _save_masks(folder: Path, trial: FinishedTrial) -> list[str]:
    """Write weights and mask, the weights first, so that a mask that refers to them never exists without them."""
    if not trial.masks:
        return []
    spec, written = trial.spec, [MASK_FILE]
    info = BundleInfo(spec.model.source, trial.frozen.digest, spec.pattern, spec.method, spec.key)
    origin: JsonObject = {"model": origin_of(spec.model)}
    if trial.started_from:
        origin["initial_masks"] = list(trial.started_from)
    if trial.weights is not None:
        save_weights(folder / WEIGHTS_FILE, trial.weights, masks=trial.masks, info=info)
        origin[WEIGHTS] = WEIGHTS_FILE
        written.append(WEIGHTS_FILE)
    save_bundle(folder / MASK_FILE, trial.masks, info=info, origin=origin)
    return written


def gather_masks(masks: Mapping[str, Tensor], *, frozen: FrozenModel, pipeline: PipelineGroup) -> Mapping[str, Tensor]:
    """Return on rank 0 of a pipeline group the masks of all ranks; they are sent with one bit a weight."""
    if pipeline.size == 1:
        return masks
    parts = pipeline.gather({name: pack(mask) for name, mask in masks.items()})
    shapes = {layer.name: (layer.out_features, layer.in_features) for layer in frozen.all_layers}
    return {name: unpack(bits, shape=shapes[name]) for part in parts for name, bits in part.items()}


def gather_weights(weights: Mapping[str, Tensor] | None, *, pipeline: PipelineGroup) -> Mapping[str, Tensor] | None:
    """Return on rank 0 of a pipeline group the new weights of all ranks, or None where the method makes none."""
    if pipeline.size == 1 or weights is None:
        return weights
    parts = pipeline.gather({name: weight.cpu() for name, weight in weights.items()})
    return {name: weight for part in parts for name, weight in part.items()}


def save_questions(path: Path, tasks: TaskResults) -> None:
    """Write the outcome of every question: arrays ``<task>/question``, ``<task>/<measure>``, and log-likelihoods."""
    np.savez_compressed(path, **tasks.arrays())  # type: ignore[arg-type]


def save_windows(path: Path, measured: Measured) -> None:
    """Write the losses, tokens and words of every window of the held-out texts, for paired comparisons."""
    found = measured.evaluation
    arrays = {WINDOW_LOSS_SUM: found.loss_sum, WINDOW_TOKENS: found.tokens, WINDOW_WORDS: found.words}
    initial_name = INITIAL_WINDOW_LOSS_SUM
    if (validation := measured.validation) is not None:
        arrays[VALIDATION_LOSS_SUM] = validation.loss_sum
        arrays |= {VALIDATION_TOKENS: validation.tokens, VALIDATION_WORDS: validation.words}
        initial_name = INITIAL_VALIDATION_LOSS_SUM
    if measured.initial is not None:
        arrays[initial_name] = measured.initial.loss_sum
    for text, own in measured.neutral.items():
        arrays.update(_neutral_arrays(text, own))
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def _neutral_arrays(text: str, measured: MeasuredNeutral) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
    found = measured.final
    arrays: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {
        WINDOW_LOSS_SUM: found.loss_sum,
        WINDOW_TOKENS: found.tokens,
        WINDOW_WORDS: found.words,
    }
    if measured.initial is not None:
        arrays[INITIAL_WINDOW_LOSS_SUM] = measured.initial.loss_sum
    return {neutral_array(text, name): array for name, array in arrays.items()}

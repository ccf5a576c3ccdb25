"""The artifacts of a finished trial: mask, new weights, losses of every evaluation window, curves, and its record."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from nmlab.trials.contract.run_artifacts import (
    EVALUATION_FILE,
    INITIAL_WINDOW_LOSS_SUM,
    MASK_FILE,
    RECORD_FILE,
    STEPS_FILE,
    TASKS_FILE,
    WEIGHTS_FILE,
    WINDOW_LOSS_SUM,
    WINDOW_TOKENS,
    WINDOW_WORDS,
)
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.evaluation import Perplexity, TaskResults
from nmlab.trials.files.checked_json import read_checked, write_checked
from nmlab.trials.files.file_digest import describe_files
from nmlab.trials.masks.bits import pack, unpack
from nmlab.trials.masks.bundle import BundleInfo, save_bundle
from nmlab.trials.masks.weights import save_weights
from nmlab.trials.methods.base import Arrays
from nmlab.trials.models import FrozenModel
from nmlab.trials.models.finished import WEIGHTS
from nmlab.trials.models.sources import origin_of
from nmlab.trials.parallel.pipeline_group import PipelineGroup
from nmlab.trials.trial.history import History

RECORD_FORMAT = 1
_FIRST_RECORD = ("key", "model_digest", "spec", "metrics", "tasks", "notes", "initial_masks")


def write_artifacts(
    folder: Path,
    *,
    spec: TrialSpec,
    frozen: FrozenModel,
    masks: Mapping[str, Tensor],
    weights: Mapping[str, Tensor] | None,
    perplexity: Perplexity,
    initial: Perplexity | None,
    tasks: TaskResults | None,
    history: History | None,
    metrics: Mapping[str, float],
    notes: Sequence[str],
    started_from: Mapping[str, Mapping[str, Any]],
    diagnostics: Mapping[str, Arrays] | None = None,
) -> dict[str, dict[str, Any]]:
    """Write every artifact of a finished trial into ``folder``; return size and digest by file name, in order.

    ``trial.json`` is written last. ``diagnostics`` are further arrays of the method, by the name of their file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [EVALUATION_FILE]
    save_windows(folder / EVALUATION_FILE, perplexity, initial)
    if tasks is not None:
        save_questions(folder / TASKS_FILE, tasks)
        written.append(TASKS_FILE)
    if masks:
        info = BundleInfo(spec.model.source, frozen.digest, spec.pattern, spec.method, spec.key)
        origin = {"model": origin_of(spec.model)}
        written += _save_masks(folder, masks, weights, info=info, origin=origin, started_from=list(started_from))
    if history is not None:
        history.save(folder / STEPS_FILE)
        written.append(STEPS_FILE)
    for name, arrays in (diagnostics or {}).items():
        assert name.endswith(".npz"), f"diagnostics are arrays, so {name} must end in .npz"
        assert name not in written, f"{name} is written by every trial"
        np.savez_compressed(folder / name, **arrays)  # type: ignore[arg-type]
        written.append(name)
    record = {
        "key": spec.key,
        "model_digest": frozen.digest,
        "spec": spec.model_dump(mode="json"),
        "metrics": dict(metrics),
        "coverage": frozen.coverage.sentence(),
        "tasks": None if tasks is None else dict(tasks.facts),
        "notes": list(notes),
        "initial_masks": dict(started_from),
    }
    write_checked(folder / RECORD_FILE, record, format=RECORD_FORMAT)
    return describe_files(folder, (*written, RECORD_FILE))


def read_record(path: Path) -> dict[str, Any]:
    """Read the record of a finished trial; raises ``OSError``, or ``ValueError`` naming a damaged file."""
    return read_checked(path, kind="record of a trial", format=RECORD_FORMAT, before=_FIRST_RECORD)


def _save_masks(
    folder: Path,
    masks: Mapping[str, Tensor],
    weights: Mapping[str, Tensor] | None,
    *,
    info: BundleInfo,
    origin: Mapping[str, object],
    started_from: Sequence[str],
) -> list[str]:
    """Write weights and mask, the weights first, so that a mask that refers to them never exists without them."""
    origin = {**origin, **({"initial_masks": list(started_from)} if started_from else {})}
    if weights is not None:
        save_weights(folder / WEIGHTS_FILE, weights, masks=masks, info=info)
        origin = {**origin, WEIGHTS: WEIGHTS_FILE}
    save_bundle(folder / MASK_FILE, masks, info=info, origin=origin)
    return [MASK_FILE] if weights is None else [MASK_FILE, WEIGHTS_FILE]


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


def save_windows(path: Path, perplexity: Perplexity, initial: Perplexity | None) -> None:
    """Write the losses, tokens and words of every evaluation window, for paired comparisons."""
    arrays = {
        WINDOW_LOSS_SUM: perplexity.loss_sum,
        WINDOW_TOKENS: perplexity.tokens,
        WINDOW_WORDS: perplexity.words,
    }
    if initial is not None:
        arrays[INITIAL_WINDOW_LOSS_SUM] = initial.loss_sum
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]

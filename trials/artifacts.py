"""The files a finished trial leaves: its mask, new weights, losses on every window, curves, and what it was."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import safetensors.torch
from torch import Tensor

from nmlab.trials.evaluation import Perplexity
from nmlab.trials.history import History
from nmlab.trials.masks.bundle import BundleInfo, save_bundle
from nmlab.trials.models import FrozenModel
from nmlab.trials.spec import TrialSpec


def write_artifacts(
    folder: Path,
    *,
    spec: TrialSpec,
    frozen: FrozenModel,
    masks: Mapping[str, Tensor],
    weights: Mapping[str, Tensor] | None,
    perplexity: Perplexity,
    initial: Perplexity | None,
    history: History | None,
    metrics: Mapping[str, float],
    notes: Sequence[str],
) -> tuple[str, ...]:
    """Write every artifact of a finished trial into ``folder`` and return the file names; ``trial.json`` comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    written = ["evaluation.npz"]
    _save_windows(folder / "evaluation.npz", perplexity, initial)
    if masks:
        info = BundleInfo(spec.model.source, frozen.digest, spec.pattern, spec.method, spec.key)
        save_bundle(folder / "mask.safetensors", masks, info=info)
        written.append("mask.safetensors")
        if weights is not None:
            _save_weights(folder / "weights.safetensors", weights, masks, info)
            written.append("weights.safetensors")
    if history is not None:
        history.save(folder / "steps.npz")
        written.append("steps.npz")
    record = {
        "key": spec.key,
        "model_digest": frozen.digest,
        "spec": spec.model_dump(mode="json"),
        "metrics": dict(metrics),
        "notes": list(notes),
    }
    partial = folder / f"trial.json.{os.getpid()}.partial"
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / "trial.json")
    return (*written, "trial.json")


def _save_weights(path: Path, weights: Mapping[str, Tensor], masks: Mapping[str, Tensor], info: BundleInfo) -> None:
    """Write changed weights under the names that the model gives its parameters, with zeros where the mask has none."""
    parameters = {f"{name}.weight": (weight * masks[name]).cpu() for name, weight in weights.items()}
    header = {"format": "nmlab-weights/1", "info": json.dumps(asdict(info))}
    partial = path.with_suffix(f".{os.getpid()}.partial")
    safetensors.torch.save_file(parameters, partial, metadata=header)
    partial.replace(path)


def _save_windows(path: Path, perplexity: Perplexity, initial: Perplexity | None) -> None:
    arrays = {
        "window_loss_sum": perplexity.loss_sum,
        "window_tokens": perplexity.tokens,
        "window_words": perplexity.words,
    }
    if initial is not None:
        arrays["initial_window_loss_sum"] = initial.loss_sum
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]

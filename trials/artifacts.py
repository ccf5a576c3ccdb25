"""The files a finished trial leaves: its mask, its losses on every window, its curves, and what it was."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
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
    perplexity: Perplexity,
    initial: Perplexity | None,
    history: History | None,
    metrics: Mapping[str, float],
) -> tuple[str, ...]:
    """Write every artifact of a finished trial into ``folder`` and return the file names; ``trial.json`` comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    written = ["evaluation.npz"]
    _save_windows(folder / "evaluation.npz", perplexity, initial)
    if masks:
        info = BundleInfo(spec.model.source, frozen.digest, spec.pattern, spec.method, spec.key)
        save_bundle(folder / "mask.safetensors", masks, info=info)
        written.append("mask.safetensors")
    if history is not None:
        history.save(folder / "steps.npz")
        written.append("steps.npz")
    record = {
        "key": spec.key,
        "model_digest": frozen.digest,
        "spec": spec.model_dump(mode="json"),
        "metrics": dict(metrics),
    }
    partial = folder / f"trial.json.{os.getpid()}.partial"
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / "trial.json")
    return (*written, "trial.json")


def _save_windows(path: Path, perplexity: Perplexity, initial: Perplexity | None) -> None:
    arrays = {
        "window_loss_sum": perplexity.loss_sum,
        "window_tokens": perplexity.tokens,
        "window_words": perplexity.words,
    }
    if initial is not None:
        arrays["initial_window_loss_sum"] = initial.loss_sum
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]

"""Reads the losses of masks that a trained run drew from its final logits: K masks on B minibatches."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nmlab.reports.read.archives import read_archive
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.store import RunStore
from nmlab.trials.contract.run_artifacts import MASK_LOSS_ARRAYS, MASK_LOSSES_FILE

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MaskLosses:
    """Losses in nats per token on each minibatch: of the same masks, of the initial mask and of the dense model."""

    run_id: str
    loss_KB: Floats
    initial_B: Floats
    dense_B: Floats


def read_mask_losses(store: RunStore, *, run_id: str) -> MaskLosses | None:
    """Read the losses of the masks that a run drew; None where it drew none.

    Raises:
        ReportError: the artifact is corrupted, or its arrays do not fit together.
    """
    arrays = read_archive(store, run_id=run_id, name=MASK_LOSSES_FILE)
    if arrays is None:
        return None
    absent = [name for name in MASK_LOSS_ARRAYS if name not in arrays]
    if absent:
        raise ReportError(f"{MASK_LOSSES_FILE} of run {run_id} has no array {absent[0]!r}; it holds {sorted(arrays)}")
    loss_KB, initial_B, dense_B = (arrays[name].astype(np.float64) for name in MASK_LOSS_ARRAYS)
    if loss_KB.ndim != 2 or not loss_KB.shape[1:] == initial_B.shape == dense_B.shape:
        shapes = {name: arrays[name].shape for name in MASK_LOSS_ARRAYS}
        raise ReportError(f"{MASK_LOSSES_FILE} of run {run_id} has arrays that do not fit together: {shapes}")
    return MaskLosses(run_id, loss_KB, initial_B, dense_B)

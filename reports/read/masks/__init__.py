"""Reads the packed masks of runs (one bit for each weight) without torch, and computes their overlap."""

from collections.abc import Iterable

from nmlab.reports.read.masks.losses import MaskLosses, read_mask_losses
from nmlab.reports.read.masks.overlap import layer_change, overlap
from nmlab.reports.read.masks.packed import PackedMask, parse_masks
from nmlab.reports.read.store import RunStore
from nmlab.trials.contract.run_artifacts import MASK_FILE

__all__ = [
    "MaskLosses",
    "PackedMask",
    "layer_change",
    "overlap",
    "parse_masks",
    "read_mask_losses",
    "read_masks",
]

MOST_BYTES = 512 * 2**20


def read_masks(
    store: RunStore, *, run_ids: Iterable[str], most_bytes: int = MOST_BYTES
) -> dict[str, dict[str, PackedMask]]:
    """Read the masks of some runs in the given order, up to a limit on their total size.

    Args:
        store: the store that holds the artifacts.
        run_ids: runs in order of importance; runs without a mask are left out.
        most_bytes: the limit on the bytes of packed masks; a mask that exceeds it is left out.

    Raises:
        ReportError: a damaged mask.
    """
    found: dict[str, dict[str, PackedMask]] = {}
    held = 0
    for run_id in dict.fromkeys(run_ids):
        size = store.artifact_size(run_id, name=MASK_FILE)
        if size is None or held + size > most_bytes:
            continue
        content = store.artifact(run_id, name=MASK_FILE)
        assert content is not None, "the artifact was listed a moment ago"
        held += size
        found[run_id] = parse_masks(content, run_id=run_id)
    return found

"""Reads arrays that a run kept as an npz artifact."""

import io

import numpy as np
import numpy.typing as npt

from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.store import RunStore


def read_archive(store: RunStore, *, run_id: str, name: str) -> dict[str, npt.NDArray[np.generic]] | None:
    """Read every array of one npz artifact of a run; None where the run has none of that name.

    Raises:
        ReportError: the artifact is corrupted, naming the run.
    """
    content = store.artifact(run_id, name=name)
    if content is None:
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return {str(key): archive[key] for key in archive.files}
    except Exception as error:  # a damaged archive fails in as many ways as it has layers: zip, deflate, numpy's header
        raise ReportError(f"{name} of run {run_id} is corrupted: {error}") from error

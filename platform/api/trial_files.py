"""What a trial left behind: its mask, and what was recorded while it ran."""

from pathlib import Path

import pandas as pd

from nmlab.platform.api.masks import Mask, load_mask
from nmlab.platform.api.results import Trial
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.histories import read_histories
from nmlab.reports.read.store import open_store, reading
from nmlab.trials.contract.run_artifacts import MASK_FILE


def mask_of(trial: Trial) -> Mask:
    """Return the mask of a trial, from its folder here or else from MLflow; see `Trial.mask`."""
    from nmlab.platform.tracking.result_files import located_files

    if trial.method == "dense":
        raise ValueError(f"trial {trial.key} is the dense model, which has no mask")
    if not trial.is_finished:
        raise ValueError(f"trial {trial.key} is {trial.status} and has no mask; only a finished trial has one")
    if trial.folder is not None and (trial.folder / MASK_FILE).is_file():
        return load_mask(trial.folder)
    if trial.run_id is None:
        raise ValueError(f"trial {trial.key}: its folder holds no {MASK_FILE}, and MLflow has no run of it")
    with located_files(trial.run_id, tracking_uri=trial.tracking_uri) as found:
        if not (Path(found.place) / MASK_FILE).is_file():
            raise ValueError(f"run {trial.run_id} of trial {trial.key} holds no {MASK_FILE}")
        return load_mask(found.place)


def history_of(trial: Trial) -> pd.DataFrame:
    """Return every recorded point of a trial, one row a step; see `Trial.history`."""
    if trial.run_id is None:
        raise ReportError(f"trial {trial.key} has no run in MLflow, which keeps what was recorded while it ran")
    store = open_store(trial.tracking_uri)
    with reading(store.uri):
        metrics = sorted(store.client.get_run(trial.run_id).data.metrics)
    points = read_histories(store, run_ids=[trial.run_id], metrics=metrics)
    table = points.pivot(index="step", columns="metric", values="value").rename_axis(columns=None)
    return table.astype("float64")

"""Run one configuration in this process, without Ray: same trial, files and MLflow records as in a sweep."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from nmlab.platform.launches.launch import check_is_local
from nmlab.platform.records.payloads import Point, result_record
from nmlab.platform.tracking import MlflowStore
from nmlab.platform.tracking.provenance import facts_tags, provenance
from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import account_of
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.run_tags import SINGLE_RUNS, Role
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.models import FrozenModel
from nmlab.trials.sizing.preflight import PreflightFacts
from nmlab.trials.trial.outcome import TrialResult
from nmlab.trials.trial.run import run_trial


class _Listener:
    """Collects the metrics of a trial for MLflow, and passes them to a callback."""

    def __init__(
        self, watch: Callable[[int, Mapping[str, float]], None], stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._watch, self._stopping = watch, stopping
        self.points: list[Point] = []

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.points.append({"step": step, "time": int(time.time() * 1000), "values": dict(values)})
        self._watch(step, values)

    def cancelled(self) -> bool:
        return self._stopping()


def make_folder(results: Path, *, key: str) -> Path:
    """Make and return the folder of a single run; raises ``ValueError`` if it cannot be written."""
    check_is_local(results)
    folder = results.expanduser().resolve() / SINGLE_RUNS / key
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"results folder {str(results)!r} cannot be written: {error.strerror}") from error
    return folder


def run_one(
    spec: TrialSpec,
    *,
    facts: PreflightFacts,
    folder: Path,
    tracking_uri: str,
    watch: Callable[[int, Mapping[str, float]], None],
    stopping: Callable[[], bool] = lambda: False,
) -> TrialResult:
    """Run a trial, from its newest checkpoint in ``folder`` if any, and record it in the MLflow experiment ``runs``.

    ``watch`` is called with step and values of every point. Once ``stopping`` returns True, the trial writes a
    checkpoint at its next step and ends as stopped. An error of the trial is recorded in MLflow and raised.
    """
    store = MlflowStore(SINGLE_RUNS, launch=spec.key, uri=tracking_uri)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    initial_masks = folder.parent / "initial_masks"  # shared by all single runs
    replica = ReplicaContext(FrozenModel.load(spec.model, device=device), initial_masks=initial_masks)
    tags = {**provenance(), **facts_tags(facts)}
    store.begin_trial(spec, role=Role.SEARCH, tags=tags)
    listener = _Listener(watch, stopping)
    try:
        result = run_trial(spec, replica=replica, folder=folder, events=listener)
        result = replace(result, notes=(*result.notes, *facts.text_notes))
    except BaseException as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, Exception) else "interrupted"
        account = account_of(error)
        result = TrialResult(
            key=spec.key, status=TrialStatus.FAILED, step=account.step, metrics=account.metrics, reason=reason
        )
        raise
    finally:
        store.log_points(spec.key, listener.points)
        for digest, record in result.initial_masks.items():
            store.keep_initial_mask(digest, record=record, folder=initial_masks, tags=tags)
        store.end_trial(result_record(result), folder=folder)
    return result

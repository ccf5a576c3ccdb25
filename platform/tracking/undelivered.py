"""Find the results of a launch that MLflow lacks, by reading the store."""

from collections.abc import Mapping
from pathlib import Path

from nmlab.platform.failures import reason_line
from nmlab.platform.launches.launch import Launch
from nmlab.platform.process.credentials import restored_uri
from nmlab.platform.records.payloads import ResultRecord
from nmlab.reports.read.mlflow_access.connection import connect
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus
from nmlab.trials.contract.run_tags import RunKind, condition

_SQLITE = "sqlite:///"


def undelivered(launch: Launch, results: Mapping[str, ResultRecord]) -> str:
    """Return in one line what MLflow lacks of ``results``, the newest of every trial by key; "" if it has all of them.

    It has a trial if the run is closed with the same status and all of its files, and the initial masks have theirs. A
    store that cannot be read counts as empty.
    """
    uri = str(launch.settings()["tracking_uri"])
    try:
        runs = _runs(launch, uri)
    except Exception as error:  # stores fail in many ways; after any of them nothing is known to be there
        return f"MLflow cannot be read ({reason_line(error)})"
    trials = {tags[run_tags.TRIAL_KEY]: tags for tags in runs if tags.get(run_tags.KIND) == RunKind.TRIAL}
    masks = {tags.get(run_tags.INITIAL_MASK_DIGEST) for tags in runs if _is_finished_mask(tags)}
    lacking = [key for key, result in results.items() if not _has(trials.get(key, {}), result, masks)]
    is_closed = any(map(_is_closed_launch, runs))
    if not lacking and is_closed:
        return ""
    what = f"{len(lacking)} of its {len(results)} results" if lacking else "its end"
    return f"MLflow does not have {what} yet; `nmlab resume {launch.name}` delivers what is missing"


def _has(tags: Mapping[str, str], result: ResultRecord, masks: set[str | None]) -> bool:
    is_closed = tags.get(run_tags.STATUS) == result["status"] and run_tags.MISSING_ARTIFACTS not in tags
    return is_closed and set(result.get("initial_masks", {})) <= masks


def _is_finished_mask(tags: Mapping[str, str]) -> bool:
    return tags.get(run_tags.KIND) == RunKind.INITIAL_MASK and tags.get(run_tags.STATUS) == TrialStatus.FINISHED


def _is_closed_launch(tags: Mapping[str, str]) -> bool:
    return tags.get(run_tags.KIND) == RunKind.LAUNCH and tags.get(run_tags.STATUS) != LaunchStatus.RUNNING


def _runs(launch: Launch, uri: str) -> list[Mapping[str, str]]:
    """Return the tags of all runs of a launch; raises ``FileNotFoundError`` for a database that does not exist."""
    if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).is_file():
        raise FileNotFoundError(f"{uri} does not exist")
    client = connect(restored_uri(uri))
    experiment = client.get_experiment_by_name(launch.study().name)
    if experiment is None:
        return []
    wanted, token = condition(run_tags.LAUNCH, launch.name), None
    found: list[Mapping[str, str]] = []
    while True:
        page = client.search_runs([experiment.experiment_id], wanted, max_results=1000, page_token=token)
        found += [run.data.tags for run in page]
        token = page.token
        if not token:
            return found

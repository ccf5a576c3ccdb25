"""The launch that a user names, as MLflow has it: by folder, name, beginning of a name, STUDY@LAUNCH or study."""

from pathlib import Path

from nmlab.platform.launches.launch import LAUNCH_FILE
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.mlflow_access.addresses import shown
from nmlab.reports.read.store import RunStore, open_store
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.launch_names import LaunchName, meant_launch, split_name


def launch_in_store(text: str, *, tracking_uri: str) -> tuple[str, str | None]:
    """Return the study and the launch that a text means; None for the newest launch of a study.

    Raises ``ReportError`` with one line: a store that cannot be read, no such launch, or a beginning of several.
    """
    store, folder = open_store(tracking_uri), Path(text).expanduser()
    if (folder / LAUNCH_FILE).is_file():
        folder = folder.resolve()
        text = f"{folder.parent.name}@{folder.name}"
    study, _ = split_name(text)
    if not study and _launched(store, text):
        return text, None
    known = _launched(store, study) if study else [each for name in store.studies() for each in _launched(store, name)]
    try:
        return meant_launch(text, known, where=shown(store.uri))
    except ValueError as error:
        raise ReportError(str(error)) from error


def as_study_text(text: str, *, tracking_uri: str) -> str:
    """Return the launch that a text means as reports take it: STUDY, or STUDY@LAUNCH; raises as `launch_in_store`."""
    study, launch = launch_in_store(text, tracking_uri=tracking_uri)
    return study if launch is None else f"{study}@{launch}"


def _launched(store: RunStore, study: str) -> list[LaunchName]:
    """Return the launches of a study, oldest first; none of an unknown one."""
    experiment = store.known_experiment_id(study)
    runs = [] if experiment is None else store.launches(experiment)[::-1]
    return [LaunchName(study, str(run.data.tags.get(run_tags.LAUNCH, run.info.run_id))) for run in runs]

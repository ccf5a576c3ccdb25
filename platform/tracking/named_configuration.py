"""The configuration that a key means, with the newest launch that ran it."""

from typing import NamedTuple

from nmlab.platform.tracking.result_candidates import HEXADECIMAL, search, tag_begins
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.store import open_store, reading
from nmlab.trials.contract import run_tags


class ConfigurationName(NamedTuple):
    """A configuration by its study, the launch that ran it, and its key."""

    study: str
    launch: str
    key: str


def configuration_in_store(text: str, *, tracking_uri: str) -> ConfigurationName | None:
    """Return the configuration that a key, or its beginning, means; None if the text is not one in the store.

    Raises ``ReportError`` for a store that cannot be read, or a beginning of several keys.
    """
    if not HEXADECIMAL.fullmatch(text):
        return None
    store = open_store(tracking_uri)
    runs = [run for run in search(store, tag_begins(run_tags.CONFIGURATION, text)) if _of_launch(run.data.tags)]
    keys = list(dict.fromkeys(str(run.data.tags[run_tags.CONFIGURATION]) for run in runs))
    if len(keys) > 1:
        raise ReportError(f"{text!r} may mean configuration {keys[0]} or {keys[1]}; give more characters")
    if not runs:
        return None
    newest = runs[0]
    with reading(store.uri):
        study = store.client.get_experiment(newest.info.experiment_id).name
    return ConfigurationName(study, str(newest.data.tags[run_tags.PARENT_RUN]), keys[0])


def _of_launch(tags: dict[str, str]) -> bool:
    return run_tags.PARENT_RUN in tags

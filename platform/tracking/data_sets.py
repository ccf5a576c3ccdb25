"""The texts of a trial as MLflow's own entities: its pages show them with a run, and filter runs by them."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from nmlab.reports.read.mlflow_access import library
from nmlab.trials.contract import run_params
from nmlab.trials.contract.secrets import masked

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

_USES = {
    "calibration": run_params.CALIBRATION,
    "validation": run_params.VALIDATION,
    "evaluation": run_params.EVALUATION,
}
_LONGEST_NAME = 500


def dataset_inputs(settings: Mapping[str, object], *, data_digest: str) -> "list[DatasetInput]":
    """Return the texts that a trial reads, each with what it is read for.

    ``settings`` are those of a trial under dotted names. Only what names and cuts a text is kept, not the text. The
    digest of an entity is one over its settings and ``data_digest``, that of the texts that all trials read.
    """
    found = []
    neutral = dict.fromkeys(name.split(".")[2] for name in settings if name.startswith(run_params.NEUTRAL))
    uses = {**_USES, **{f"neutral {text}": f"{run_params.NEUTRAL}{text}." for text in neutral}}
    for use, prefix in uses.items():
        own = {name.removeprefix(prefix): value for name, value in settings.items() if name.startswith(prefix)}
        if source := own.pop("source", None):
            profile = json.dumps(own, sort_keys=True)
            digest = hashlib.blake2b(f"{use} {profile} {data_digest}".encode(), digest_size=4).hexdigest()
            name = masked(str(source))[:_LONGEST_NAME]
            found.append(library.dataset_input(name, digest=digest, profile=profile, use=use))
    return found

"""Contents of a launch's MLflow store, for tests of what is written there."""

import sqlite3

LAUNCH = "quickstart-20300101-000000"
RECORD = {  # of an initial mask
    "key": "00112233aabbccdd",
    "method": "gblm",
    "hyperparameters": {"gradient_scale": 100.0, "compat": "none"},
    "pattern": "2:4",
    "seed": 0,
    "model_digest": "mm",
    "calibration_digest": "cc",
    "model": "builtin:tiny",
    "calibration": {"source": "builtin:python-docs", "samples": 4},
    "cost": {"forwards": 21, "backwards": 16, "tokens": 1568, "seconds": 0.5},
    "notes": [],
}
DIGEST = "529bc297d235868d"


def result_of(spec, status="finished", *, reason="", **others):
    """Return the result of a trial, as it comes from the dispatcher."""
    return {"key": spec.key, "status": status, "step": 4, "metrics": {}, "reason": reason, **others}


def experiment_id(client, study="quickstart"):
    """Return the id of a study's experiment."""
    return client.get_experiment_by_name(study).experiment_id


def children(client, store):
    return client.search_runs([experiment_id(client)], f"tags.`mlflow.parentRunId` = '{store.parent}'")


def history(tracking_uri):
    """Return every metric row of the store, read from the database."""
    with sqlite3.connect(tracking_uri.removeprefix("sqlite:///")) as database:
        return sorted(database.execute("select key, step, value, timestamp from metrics"))

"""A whole sweep over two learned methods that start from one mask, one of them from another package."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.bundle import read_bundle

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # on a busy machine Ray takes its time

NMLAB = Path(sys.executable).with_name("nmlab")
STUDY = {
    "name": "shared-starts",
    "model": {"source": "builtin:tiny"},
    "data": {
        "calibration": {"source": "builtin:python-docs", "samples": 16, "sequence_length": 32, "batch_size": 8},
        "evaluation": {"source": "builtin:python-docs", "sequence_length": 32, "windows": 8},
    },
    "pattern": "2:4",
    "method": {"grid": ["hill_climb", "maskllm"]},
    "fixed": {"steps": 5, "initial_mask": "gblm"},
    "baselines": ["dense", "gblm"],
    "search": {"algorithm": "grid"},
    "seeds": [0, 1],
    "replica": {"count": 2, "slots": 1},
}
PLANNED = 2 + 2 * 2


@pytest.fixture(scope="module")
def nmlab(tmp_path_factory, migrated_database, thirteenth):
    """Return a function that runs the command line in one folder, with the other package installed."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copyfile(migrated_database, folder / "nmlab.db")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    environment = {**os.environ, "PYTHONPATH": str(thirteenth)}
    environment.pop("MLFLOW_TRACKING_URI", None)

    def run(*arguments):
        done = subprocess.run(
            [NMLAB, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=500
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run, folder


@pytest.fixture(scope="module")
def swept(nmlab):
    """A finished sweep: what it printed, its folder, and its runs by kind."""
    run, folder = nmlab
    printed = json.loads(run("sweep", "study.yaml", "--json"))
    return printed, folder, _runs(folder)


def _runs(folder):
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'nmlab.db'}")
    runs = client.search_runs([client.get_experiment_by_name("shared-starts").experiment_id])
    by_kind = {"study": [], "trial": [], "initial_mask": []}
    for found in runs:
        by_kind[found.data.tags["nmlab.kind"]].append(found)
    return by_kind


def _artifacts(folder, run_id):
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'nmlab.db'}")
    return {item.path: Path(client.download_artifacts(run_id, item.path)) for item in client.list_artifacts(run_id)}


def test_a_method_from_outside_runs_in_rays_workers(swept):
    printed, _, runs = swept
    assert printed["counts"] == {"finished": PLANNED}
    assert len(runs["trial"]) == PLANNED
    assert sum(run.data.params["method"] == "hill_climb" for run in runs["trial"]) == 2
    (parent,) = runs["study"]
    assert json.loads(parent.data.tags["nmlab.versions"])["nmlab-thirteenth"] == "1.0"


def test_a_method_from_outside_is_listed_and_explained(nmlab):
    run, _ = nmlab
    assert "hill_climb" in run("methods")
    assert "nmlab-thirteenth" in run("methods", "hill_climb")
    (record,) = json.loads(run("methods", "hill_climb", "--json"))
    assert record["package"] == "nmlab-thirteenth"
    assert record["hyperparameters"]["mutation"]["default_from"] == "ours"


def test_the_mask_that_all_started_from_is_one_run_beside_the_planned(swept):
    _, folder, runs = swept
    (mask,), (parent,) = runs["initial_mask"], runs["study"]
    assert parent.data.tags["nmlab.planned"] == str(PLANNED)
    assert mask.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (mask.info.status, mask.data.tags["nmlab.status"]) == ("FINISHED", "finished")
    assert mask.data.params.items() >= {"method": "gblm", "pattern": "2:4", "gradient_scale": "100.0"}.items()
    learned = [run for run in runs["trial"] if "steps" in run.data.params and run.data.params["steps"] == "5"]
    digest = mask.data.tags["nmlab.initial_mask_digest"]
    assert len(learned) == 4
    assert {run.data.tags["nmlab.initial_mask_digest"] for run in learned} == {digest}
    others = [run for run in runs["trial"] if run not in learned]
    assert not any("nmlab.initial_mask_digest" in run.data.tags for run in others)
    bundle = read_bundle(_artifacts(folder, mask.info.run_id)["mask.safetensors"])
    assert masks_digest(bundle.masks) == digest
    (baseline,) = [run for run in runs["trial"] if run.data.params["method"] == "gblm"]
    same = read_bundle(_artifacts(folder, baseline.info.run_id)["mask.safetensors"])
    assert masks_digest(same.masks) == digest, "the mask that gblm gives is the one that others start from"


def test_every_trial_is_charged_the_start_and_it_was_spent_once(swept):
    _, _, runs = swept
    (mask,) = runs["initial_mask"]
    learned = [run.data.metrics for run in runs["trial"] if "nmlab.initial_mask_digest" in run.data.tags]
    alone = mask.data.metrics["cost/forwards"]
    for metrics in learned:
        assert metrics["cost/initial_forwards"] == alone
        assert metrics["cost/initial_backwards"] == mask.data.metrics["cost/backwards"] == 16
        assert metrics["cost/initial_seconds"] == mask.data.metrics["cost/seconds"]
        assert metrics["cost/forwards"] > alone
    spent_on_starts = [m["cost/spent_forwards"] - (m["cost/forwards"] - alone) for m in learned]
    assert sorted(value > 0 for value in spent_on_starts) == [False, False, False, True], "two replicas, one mask"


def test_the_report_has_the_method_and_tells_starts_from_trials(swept):
    _, folder, runs = swept
    (launch,) = (folder / "results" / "shared-starts").iterdir()
    (mask,) = runs["initial_mask"]
    tables = {path.stem: path.read_text() for path in (launch / "report" / "tables").glob("*.csv")}
    assert "hill_climb" in tables["summary"]
    assert mask.info.run_id in tables["initial_masks"]
    assert not any(mask.info.run_id in text for name, text in tables.items() if name != "initial_masks")
    assert f"{PLANNED} finished of {PLANNED}" in (launch / "report" / "report.md").read_text()


def test_a_resumed_launch_takes_its_starts_from_the_folder(nmlab, swept):
    """Two trials forgotten, as by a crash before their ends were written: they run again, the mask does not."""
    run, folder = nmlab
    _, _, before = swept
    (launch,) = (folder / "results" / "shared-starts").iterdir()
    learned = [found for found in before["trial"] if "nmlab.initial_mask_digest" in found.data.tags][:2]
    forgotten = {found.data.tags["nmlab.trial_key"] for found in learned}
    records = [json.loads(line) for line in (launch / "journal.jsonl").read_text().splitlines()]
    kept = [record for record in records if record.get("key") not in forgotten]
    (launch / "journal.jsonl").write_text("".join(json.dumps(record) + "\n" for record in kept))
    for key in forgotten:
        shutil.rmtree(launch / "trials" / key)
    (mask_file,) = (launch / "initial_masks").rglob("mask.safetensors")
    written = mask_file.stat().st_mtime_ns

    assert json.loads(run("resume", "--json", "--no-report"))["counts"] == {"finished": PLANNED}
    after = _runs(folder)
    assert mask_file.stat().st_mtime_ns == written
    assert [found.info.run_id for found in after["initial_mask"]] == [before["initial_mask"][0].info.run_id]
    assert len(after["trial"]) == PLANNED
    journal = [json.loads(line) for line in (launch / "journal.jsonl").read_text().splitlines()]
    again = [r["result"] for r in journal if r["event"] == "ended" and r["key"] in forgotten]
    assert len(again) == 2
    for result in again:
        start = result["metrics"]["cost/initial_forwards"]
        assert result["metrics"]["cost/spent_forwards"] == result["metrics"]["cost/forwards"] - start
    with sqlite3.connect(folder / "nmlab.db") as database:
        points = list(database.execute("select run_uuid, key, step from metrics"))
    assert len(points) == len(set(points)), "no point is there twice"

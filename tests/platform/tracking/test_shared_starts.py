"""A whole sweep over two learned methods that start from one mask, one of them from another package."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient
from studies import small

from nmlab.platform import cli
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.bundle import read_bundle
from nmlab.trials.methods import registry

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]  # on a busy machine Ray takes its time

NMLAB = Path(sys.executable).with_name("nmlab")
STUDY = small(
    name="shared-starts",
    calibration={"samples": 16, "batch_size": 8},
    evaluation={"windows": 8},
    method={"grid": ["hill_climb", "maskllm"]},
    fixed={"steps": 5, "initial_mask": "gblm"},
    space={},
    baselines=["dense", "gblm"],
    search={"algorithm": "grid"},
    seeds=[0, 1],
    replica={"count": 2, "slots": 1},
)
PLANNED = 2 + 2 * 2


@pytest.fixture(scope="module")
def nmlab(tmp_path_factory, migrated_database, thirteenth):
    """Return a function that runs the command line in one folder, with the other package installed."""
    folder = tmp_path_factory.mktemp("shared")
    shutil.copyfile(migrated_database, folder / "nmlab.db")
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    path = os.pathsep.join([str(thirteenth), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path}
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


@pytest.fixture
def printed(thirteenth, monkeypatch, capsys):
    """Return a function that runs a command in this process, with the other package installed."""
    monkeypatch.syspath_prepend(str(thirteenth))
    registry.rescan()

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["nmlab", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        assert not exit_.value.code
        return capsys.readouterr().out

    yield run
    monkeypatch.undo()
    registry.rescan()
    sys.modules.pop("nmlab_thirteenth", None)


def test_a_method_from_outside_is_listed_and_explained(printed):
    assert "hill_climb" in printed("methods")
    assert "nmlab-thirteenth" in printed("methods", "hill_climb")
    (record,) = json.loads(printed("methods", "hill_climb", "--json"))
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

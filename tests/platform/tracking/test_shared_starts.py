"""Sweeps whose learned trials start from one mask: with two learned methods, one of them from another package."""

import json
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from scripted import LEARNED, PLANNED, STUDY

from nmlab.platform import cli
from nmlab.trials.masks.bits import masks_digest
from nmlab.trials.masks.bundle import read_bundle
from nmlab.trials.methods import registry

pytestmark = pytest.mark.ray

DIGEST = "nmlab.initial_mask_digest"


def _runs(nmlab):
    """Return the runs of the store of a launch by kind."""
    client = MlflowClient(tracking_uri=f"sqlite:///{nmlab.folder / 'nmlab.db'}")
    runs = client.search_runs([client.get_experiment_by_name(nmlab.study).experiment_id])
    by_kind = {"study": [], "trial": [], "initial_mask": []}
    for found in runs:
        by_kind[found.data.tags["nmlab.kind"]].append(found)
    return by_kind


@pytest.fixture
def runs(scripted):
    """The runs of the sweep of the two methods."""
    return _runs(scripted.launched)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_method_from_outside_runs_in_rays_workers(scripted, runs):
    assert scripted.found["resumed"]["counts"] == {"finished": PLANNED}
    assert len(runs["trial"]) == PLANNED
    outside = [run for run in runs["trial"] if run.data.params["method"] == "hill_climb"]
    assert len(outside) == len(STUDY["seeds"])
    assert all("train/accepted" in run.data.metrics for run in outside)
    (parent,) = runs["study"]
    assert json.loads(parent.data.tags["nmlab.versions"])["nmlab-hill-climb"] == "1.0"


@pytest.fixture
def printed(outside_method, monkeypatch, capsys):
    """Return a function that runs a command in this process, with the other package installed."""
    monkeypatch.syspath_prepend(str(outside_method))
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
    sys.modules.pop("nmlab_hill_climb", None)


def test_a_method_from_outside_is_listed_and_explained(printed):
    assert "hill_climb" in printed("methods")
    assert "nmlab-hill-climb" in printed("methods", "hill_climb")
    (record,) = json.loads(printed("methods", "hill_climb", "--json"))
    assert record["package"] == "nmlab-hill-climb"
    assert record["hyperparameters"]["mutation"]["default_from"] == "ours"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_mask_that_all_started_from_is_one_run_beside_the_planned(scripted, runs):
    (mask,), (parent,) = runs["initial_mask"], runs["study"]
    assert parent.data.tags["nmlab.planned"] == str(PLANNED)
    assert mask.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (mask.info.status, mask.data.tags["nmlab.status"]) == ("FINISHED", "finished")
    assert mask.data.params.items() >= {"method": "gblm", "pattern": "2:4", "gradient_scale": "100.0"}.items()
    digest = mask.data.tags[DIGEST]
    learned = [run for run in runs["trial"] if "steps" in run.data.params]
    assert len(learned) == LEARNED
    assert {run.data.tags[DIGEST] for run in learned} == {digest}
    others = [run for run in runs["trial"] if run not in learned]
    assert not any(DIGEST in run.data.tags for run in others)
    (baseline,) = [run for run in runs["trial"] if run.data.params["method"] == "gblm"]
    assert _digest(scripted.places, mask) == digest
    assert _digest(scripted.places, baseline) == digest, "the mask of gblm is the one that others start from"


def _digest(places, run):
    """Return the digest of the mask that a run holds."""
    client = MlflowClient(tracking_uri=places["tracking_uri"])
    bundle = read_bundle(Path(client.download_artifacts(run.info.run_id, "mask.safetensors")))
    return masks_digest(bundle.masks)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_trial_is_charged_the_start_and_it_was_spent_once(runs):
    """By two processes: the sweep was interrupted and resumed."""
    (mask,) = runs["initial_mask"]
    assert mask.data.metrics["cost/backwards"] == STUDY["data"]["calibration"]["samples"]
    assert _times_spent(runs) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_replicas_that_start_at_once_spend_it_once(undisturbed):
    nmlab, _ = undisturbed
    assert _times_spent(_runs(nmlab)) == 1


def _times_spent(runs):
    """Return how many trials spent anything on the mask, after checks that each one is charged for all of its start."""
    (mask,) = runs["initial_mask"]
    learned = [run for run in runs["trial"] if DIGEST in run.data.tags]
    assert learned
    return sum(_spent_on_mask(run, mask.data.metrics) > 0 for run in learned)


def _spent_on_mask(run, alone):
    """Return the forward passes that a trial spent on the mask, which costs ``alone``, beside its own first losses."""
    charged = run.data.metrics
    losses = charged["cost/initial_forwards"] - alone["cost/forwards"]
    assert charged["cost/initial_backwards"] == alone["cost/backwards"]
    assert charged["cost/initial_seconds"] >= alone["cost/seconds"]
    assert (losses > 0) is (run.data.params["method"] == "maskpro"), "it takes the losses of the mask on its batches"
    on_start = charged["cost/spent_forwards"] - (charged["cost/forwards"] - charged["cost/initial_forwards"])
    return on_start - losses


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_report_has_the_method_and_tells_starts_from_trials(scripted, runs):
    launch = scripted.launched.launch
    (mask,) = runs["initial_mask"]
    tables = {path.stem: path.read_text() for path in (launch / "report" / "tables").glob("*.csv")}
    assert "hill_climb" in tables["summary"]
    assert mask.info.run_id in tables["initial_masks"]
    assert not any(mask.info.run_id in text for name, text in tables.items() if name != "initial_masks")
    assert f"{PLANNED} finished of {PLANNED}" in (launch / "report" / "report.md").read_text()

"""A whole sweep, from the command line to the report, undisturbed. What is killed is in ``test_faults``.

It starts its own Ray cluster in its own process session, which tells its processes from others.
"""

import json
import subprocess
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from receivers import SECRET

from nmlab.platform.testing.real_launches.launched import NMLAB, PLANNED, STEPS, check_complete, results

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]


def test_an_undisturbed_sweep_finishes_every_planned_trial(undisturbed):
    nmlab, printed = undisturbed
    assert printed["status"] == "finished"
    assert printed["counts"] == {"finished": PLANNED}
    _, children = check_complete(nmlab, trials=PLANNED)
    assert {run.info.status for run in children} == {"FINISHED"}
    roles = [run.data.tags["nmlab.role"] for run in children]
    assert (roles.count("baseline"), roles.count("search")) == (2, 4)
    moved = {run.data.params["method"]: run.data.tags["nmlab.depends_on_seed"] for run in children}
    assert moved == {"dense": "false", "magnitude": "false", "maskpro": "true"}


def test_each_replica_loads_the_model_once_and_leaves_it_unchanged(undisturbed):
    nmlab, printed = undisturbed
    assert printed["model_loads"] == 2
    assert printed["frozen_weights"] == "verified"
    replicas = [record for record in nmlab.journal() if record["event"] == "replica"]
    assert sorted(record["host"] for record in replicas) == ["replica-0", "replica-1"]
    assert len({record["model_digest"] for record in replicas}) == 1
    assert len({record["pid"] for record in replicas}) == 2


def test_trials_are_shared_out_among_the_replicas(undisturbed):
    nmlab, _ = undisturbed
    leased = [record["host"] for record in nmlab.journal() if record["event"] == "leased"]
    assert set(leased) == {"replica-0", "replica-1"}
    assert len(leased) == PLANNED


def test_threads_of_a_replica_sleep_while_they_wait(undisturbed):
    nmlab, _ = undisturbed
    variables = (nmlab.folder / "environ-of-a-worker").read_text().split("\0")
    assert "OMP_WAIT_POLICY=PASSIVE" in variables
    assert not [variable for variable in variables if SECRET in variable]


def test_the_status_says_finished(undisturbed):
    nmlab, _ = undisturbed
    shown = subprocess.run([NMLAB, "status", "--json"], cwd=nmlab.folder, capture_output=True, check=True).stdout
    for status in (nmlab.status(), json.loads(shown)):
        assert (status["phase"], status["ended"], status["planned"]) == ("finished", PLANNED, PLANNED)
        assert {line["status"] for line in status["trials"].values()} == {"finished"}


def test_the_report_is_written_and_attached(undisturbed):
    nmlab, printed = undisturbed
    assert Path(printed["report"]["html"]) == nmlab.launch / "report" / "report.html"
    assert all((nmlab.launch / "report" / name).stat().st_size > 0 for name in ("report.html", "report.md"))
    parent, _ = nmlab.runs()
    client = MlflowClient(tracking_uri=f"sqlite:///{nmlab.folder / 'nmlab.db'}")
    assert {"study.yaml", "report"} <= {item.path for item in client.list_artifacts(parent.info.run_id)}


def test_learning_is_recorded_from_the_first_mask_to_the_last(undisturbed):
    nmlab, _ = undisturbed
    learned = [values for values in results(nmlab).values() if ("train/loss", STEPS) in values]
    assert len(learned) == 4
    for values in learned:
        losses = sorted(step for name, step in values.keys() - {"mask"} if name == "train/loss")
        assert losses == list(range(10, STEPS + 1, 10))
        evaluated = {place for place in values.keys() - {"mask"} if place[0].endswith("/perplexity")}
        assert evaluated == {("initial/perplexity", 0), ("eval/perplexity", STEPS)}
        assert values["mask"]


def test_a_result_holds_the_last_values_of_learning_too(undisturbed):
    """A search may aim at them; the journal keeps them for a launch that is resumed."""
    nmlab, _ = undisturbed
    ended = [record["result"]["metrics"] for record in nmlab.journal() if record["event"] == "ended"]
    assert sum("train/loss" in metrics for metrics in ended) == 4
    assert all({"eval/perplexity", "cost/forwards"} <= metrics.keys() for metrics in ended)


def test_with_json_nothing_else_is_printed_whatever_ray_prints(undisturbed):
    nmlab, _ = undisturbed
    assert json.loads((nmlab.folder / "out.txt").read_text())["status"] == "finished"

"""Whole sweeps, from the command line to the report, undisturbed, killed and damaged.

Each starts its own Ray cluster in its own process session, which tells its processes from others.
"""

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from launched import (
    GRID,
    NMLAB,
    PLANNED,
    STEPS,
    Nmlab,
    check_complete,
    keys,
    kill_session,
    results,
    session,
    wait_until,
    workers,
)
from mlflow.tracking import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

pytestmark = pytest.mark.slow


def halfway(journal):
    """Return whether a learned trial has ended and another is between a checkpoint and its end."""
    learned = {r["key"]: r["spec"]["hyperparameters"].get("steps") for r in journal if r["event"] == "trial"}
    ended = set(keys(journal, "ended"))
    steps = {record["key"]: record["step"] for record in journal if record["event"] == "metrics"}
    running = [key for key, step in steps.items() if key not in ended and 20 <= step < STEPS - 20]
    return bool(running) and any(learned[key] for key in ended)


def busy_replica(journal):
    """Return the record of a replica that is in the middle of a learned trial, or None."""
    ended = set(keys(journal, "ended"))
    steps = {record["key"]: record["step"] for record in journal if record["event"] == "metrics"}
    hosts = {record["key"]: record["host"] for record in journal if record["event"] == "leased"}
    at_work = {hosts[key] for key, step in steps.items() if key not in ended and 20 <= step < STEPS - 20}
    replicas = [record for record in journal if record["event"] == "replica" and record["host"] in at_work]
    return replicas[-1] if replicas else None


def test_an_undisturbed_sweep_finishes_every_planned_trial(undisturbed):
    nmlab, printed = undisturbed
    assert printed["status"] == "finished"
    assert printed["counts"] == {"finished": PLANNED}
    _, children = check_complete(nmlab, planned=PLANNED)
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


def test_a_killed_sweep_resumes_to_the_very_same_results(undisturbed, new_nmlab):
    """All processes of the first driver are killed, as by a lost machine; the second goes on from checkpoints."""
    nmlab = new_nmlab()
    process = nmlab.start("sweep", "grid.yaml", "--json", "--no-report")
    try:
        nmlab.wait_until(lambda: halfway(nmlab.journal()), process=process, what="the sweep was halfway")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: not workers(process.pid), seconds=30, what="the replicas to end after their driver")
    finally:
        kill_session(process.pid)
        process.wait()
    before = nmlab.journal()
    ended = set(keys(before, "ended"))
    assert 0 < len(ended) < PLANNED

    printed = nmlab.finish(nmlab.start("resume", "--json", "--no-report"))
    assert printed["status"] == "finished"
    check_complete(nmlab, planned=PLANNED)
    after = nmlab.journal()[len(before) :]
    assert not ended & set(keys(after, "leased")), "a trial that had ended was run again"
    found, expected = results(nmlab), results(undisturbed[0])
    assert found.keys() == expected.keys()
    for key in expected:
        assert found[key] == expected[key], f"trial {key} differs from the undisturbed one"


@dataclass
class Damaged:
    """A sweep with Optuna and early stopping, one of whose replicas was killed in the middle of a learned trial."""

    nmlab: Nmlab
    printed: dict
    victim: dict


@pytest.fixture(scope="module")
def damaged(new_nmlab):
    nmlab = new_nmlab("quickstart")
    settings = [
        f"data={json.dumps(GRID['data'])}",
        f"fixed.steps={STEPS}",
        "search={algorithm: tpe, samples: 2, scheduler: asha}",
        "seeds=[0, 1]",
        "intervals={evaluate_every: 100, checkpoint_every: 20, log_every: 10}",
        "baselines=[dense]",
    ]
    overrides = [part for setting in settings for part in ("--set", setting)]
    process = nmlab.start("sweep", "quickstart", *overrides, "--json", "--no-report")
    try:
        victim = nmlab.wait_until(
            lambda: busy_replica(nmlab.journal()), process=process, what="a replica was at work on a learned trial"
        )
        assert victim["pid"] in session(process.pid)
        os.kill(victim["pid"], signal.SIGKILL)
    except BaseException:
        kill_session(process.pid)
        raise
    return Damaged(nmlab, nmlab.finish(process), victim)


def test_no_trial_is_lost_with_a_killed_replica(damaged):
    """Its trial moves to the other replica or waits for the model to be loaded again."""
    assert damaged.printed["status"] == "finished"
    assert damaged.printed["model_loads"] in (2, 3), "the sweep may be over before the replica is back"
    check_complete(damaged.nmlab, planned=1 + 2 * 2)
    journal = damaged.nmlab.journal()
    assert damaged.victim["host"] in [record["host"] for record in journal if record["event"] == "replica lost"]
    assert 2 in [record["attempt"] for record in journal if record["event"] == "leased"]


def test_optuna_has_the_outcome_of_every_configuration(damaged):
    """Finished ones are complete with the mean over their seeds; those that were stopped early are pruned."""
    storage = JournalStorage(JournalFileBackend(str(damaged.nmlab.launch / "optuna.journal")))
    trials = optuna.load_study(study_name="quickstart", storage=storage).trials
    by_configuration = {}
    for run in damaged.nmlab.runs()[1]:
        if run.data.tags["nmlab.role"] == "search":
            by_configuration.setdefault(run.data.tags["nmlab.configuration"], []).append(run)
    complete = [
        sum(run.data.metrics["eval/perplexity"] for run in runs) / len(runs)
        for runs in by_configuration.values()
        if all(run.data.tags["nmlab.status"] == "finished" for run in runs)
    ]
    states = sorted(trial.state.name for trial in trials if trial.user_attrs)
    assert states == ["COMPLETE"] * len(complete) + ["PRUNED"] * (len(by_configuration) - len(complete))
    assert sorted(trial.value for trial in trials if trial.state.name == "COMPLETE") == pytest.approx(sorted(complete))
    assert all(100 in trial.intermediate_values for trial in trials if trial.state.name == "PRUNED")


def test_with_json_nothing_else_is_printed_whatever_ray_prints(damaged, undisturbed):
    for nmlab in (undisturbed[0], damaged.nmlab):
        assert json.loads((nmlab.folder / "out.txt").read_text())["status"] == "finished"

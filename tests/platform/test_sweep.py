"""Whole sweeps, from the command line to the report, undisturbed, killed and damaged.

Each starts a Ray cluster of its own in a process session of its own, by which its processes are known.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
import yaml
from mlflow.tracking import MlflowClient
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from safetensors.numpy import load_file

pytestmark = pytest.mark.slow

NMLAB = Path(sys.executable).with_name("nmlab")
STEPS = 300
GRID = {
    "name": "tiny-grid",
    "model": {"source": "builtin:tiny"},
    "data": {
        "calibration": {"source": "builtin:python-docs", "samples": 32, "sequence_length": 128, "batch_size": 16},
        "evaluation": {"source": "builtin:python-docs", "sequence_length": 64, "windows": 16},
    },
    "pattern": "2:4",
    "method": "maskpro",
    "fixed": {"steps": STEPS, "learning_rate": 2.0, "logit_magnitude": 4.0},
    "space": {"alpha": {"grid": [0.9, 0.99]}},
    "baselines": ["dense", "magnitude"],
    "search": {"algorithm": "grid"},
    "seeds": [0, 1],
    "replica": {"count": 2, "slots": 1},
    "cadence": {"log_every": 10, "checkpoint_every": 20},
}
PLANNED = 2 + 2 * 2


@dataclass
class Nmlab:
    """A folder in which the command line runs, with a store of its own."""

    folder: Path
    study: str

    def start(self, *arguments):
        """Start ``nmlab`` in a session of its own, its output in files."""
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        with (self.folder / "out.txt").open("w") as out, (self.folder / "err.txt").open("w") as err:
            return subprocess.Popen(
                [NMLAB, *arguments], cwd=self.folder, stdout=out, stderr=err, env=environment, start_new_session=True
            )

    def finish(self, process, *, seconds=150):
        """Wait for a process that must succeed and leave nothing running; return what it printed as JSON."""
        try:
            code = process.wait(seconds)
            wait_until(lambda: not session(process.pid), seconds=30, what="Ray to be gone")
        finally:
            kill_session(process.pid)
        assert code == 0, (self.folder / "err.txt").read_text()
        printed = (self.folder / "out.txt").read_text()
        return json.loads(printed[printed.index("{\n") :])

    def wait_until(self, condition, *, process, what, seconds=120):
        """Wait for something to happen while a process runs, and no longer than it runs; return the answer."""

        def answer():
            assert process.poll() is None, f"ended before {what}: {(self.folder / 'err.txt').read_text()}"
            return condition()

        return wait_until(answer, seconds=seconds, what=what)

    @property
    def launch(self):
        """The folder of the only launch."""
        (folder,) = (self.folder / "results" / self.study).iterdir()
        return folder

    def status(self):
        return json.loads((self.launch / "status.json").read_text())

    def journal(self):
        """The whole lines of the journal so far."""
        if not (self.folder / "results" / self.study).is_dir() or not (self.launch / "journal.jsonl").is_file():
            return []
        lines = (self.launch / "journal.jsonl").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n") and line.strip()]

    def runs(self):
        """Return the parent run and the child runs in MLflow."""
        client = MlflowClient(tracking_uri=f"sqlite:///{self.folder / 'nmlab.db'}")
        found = client.search_runs([client.get_experiment_by_name(self.study).experiment_id])
        (parent,) = [run for run in found if run.data.tags["nmlab.kind"] == "study"]
        below = [run for run in found if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        assert len(found) == 1 + len(below)
        children = [run for run in below if run.data.tags["nmlab.kind"] == "trial"]
        starts = [run.data.tags["nmlab.initial_mask_digest"] for run in below if run not in children]
        assert len(starts) == len(set(starts)), "a mask that trials start from is there twice"
        return parent, children

    def points(self):
        """Every metric row of the store: (run, metric, step, value), as often as it is there."""
        with sqlite3.connect(self.folder / "nmlab.db") as database:
            return list(database.execute("select run_uuid, key, step, value from metrics"))


def session(leader):
    """The living processes of the session that a process leads, by number, with their command lines."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, sid = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it ended while we looked
        if int(sid) == leader and state != "Z":
            found[int(folder.name)] = command
    return found


def workers(leader):
    """The processes of a session that can do work; Ray's two agents linger half a minute after a crash, idle."""
    agents = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
    return [pid for pid, command in session(leader).items() if not command.startswith(agents)]


def kill_session(leader):
    """End what is left of a session that this test started."""
    for pid in session(leader):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_until(condition, *, seconds, what):
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return answer


def keys(records, event):
    return [record["key"] for record in records if record["event"] == event]


def halfway(journal):
    """Say whether a learned trial has ended and another is between a checkpoint and its end."""
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


def check_complete(nmlab, *, planned):
    """Every planned trial is there, once, has ended as finished, and no point of it is there twice."""
    parent, children = nmlab.runs()
    assert parent.data.tags["nmlab.planned"] == str(planned)
    assert parent.data.tags["nmlab.status"] == "finished"
    assert parent.data.tags["nmlab.frozen_weights"] == "verified"
    assert len({run.data.tags["nmlab.trial_key"] for run in children}) == len(children) == planned
    points = [(run, name, step) for run, name, step, _ in nmlab.points()]
    assert len(points) == len(set(points))
    assert all(run.info.status != "RUNNING" for run in (parent, *children))
    return parent, children


def results(nmlab):
    """Everything that a trial's result is, by trial key: losses and perplexities at every step, and the mask."""
    _, children = nmlab.runs()
    by_run = {run.info.run_id: run.data.tags["nmlab.trial_key"] for run in children}
    found = {key: {} for key in by_run.values()}
    for run, name, step, value in nmlab.points():
        if name.startswith(("eval/", "train/")):
            found[by_run[run]][name, step] = value
    for key, values in found.items():
        bundle = nmlab.launch / "trials" / key / "mask.safetensors"
        if bundle.is_file():
            values["mask"] = {name: bits.tolist() for name, bits in load_file(bundle).items()}
    return found


@pytest.fixture(scope="module")
def new_nmlab(tmp_path_factory, migrated_database):
    """Return a function that makes a folder with the grid study and an empty store."""

    def make(study=GRID["name"]):
        folder = tmp_path_factory.mktemp("sweep")
        shutil.copyfile(migrated_database, folder / "nmlab.db")
        (folder / "grid.yaml").write_text(yaml.safe_dump(GRID))
        return Nmlab(folder, study)

    return make


@pytest.fixture(scope="module")
def undisturbed(new_nmlab):
    """A finished sweep, and what it printed."""
    nmlab = new_nmlab()
    return nmlab, nmlab.finish(nmlab.start("sweep", "grid.yaml", "--json"))


def test_an_undisturbed_sweep_finishes_every_planned_trial(undisturbed):
    nmlab, printed = undisturbed
    assert printed["status"] == "finished"
    assert printed["counts"] == {"finished": PLANNED}
    _, children = check_complete(nmlab, planned=PLANNED)
    assert {run.info.status for run in children} == {"FINISHED"}
    roles = [run.data.tags["nmlab.role"] for run in children]
    assert (roles.count("baseline"), roles.count("search")) == (2, 4)


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
    told = subprocess.run([NMLAB, "status", "--json"], cwd=nmlab.folder, capture_output=True, check=True).stdout
    for status in (nmlab.status(), json.loads(told)):
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
        assert {step for name, step in values.keys() - {"mask"} if name == "eval/perplexity"} == {0, STEPS}
        assert values["mask"]


def test_a_result_holds_the_last_values_of_learning_too(undisturbed):
    """A search may aim at them; the journal keeps them for a launch that is resumed."""
    nmlab, _ = undisturbed
    ended = [record["result"]["metrics"] for record in nmlab.journal() if record["event"] == "ended"]
    assert sum("train/loss" in metrics for metrics in ended) == 4
    assert all({"eval/perplexity", "cost/forwards"} <= metrics.keys() for metrics in ended)


def test_a_killed_sweep_resumes_to_the_very_same_results(undisturbed, new_nmlab):
    """Everything of the first process is killed at once, as by a lost machine; the second goes on from checkpoints."""
    nmlab = new_nmlab()
    process = nmlab.start("sweep", "grid.yaml", "--json", "--no-report")
    try:
        nmlab.wait_until(lambda: halfway(nmlab.journal()), process=process, what="the sweep was halfway")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: not workers(process.pid), seconds=30, what="the replicas to follow their driver")
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
    ours, theirs = results(nmlab), results(undisturbed[0])
    assert ours.keys() == theirs.keys()
    for key in theirs:
        assert ours[key] == theirs[key], f"trial {key} differs from the undisturbed one"


@dataclass
class Damaged:
    """A sweep with Optuna and a scheduler, of which one replica was killed in the middle of a learned trial."""

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
        "cadence={evaluate_every: 100, checkpoint_every: 20, log_every: 10}",
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


def test_optuna_was_told_what_became_of_every_configuration(damaged):
    """Finished ones are complete with the mean over their seeds, those that were stopped early are pruned."""
    storage = JournalStorage(JournalFileBackend(str(damaged.nmlab.launch / "optuna.journal")))
    told = optuna.load_study(study_name="quickstart", storage=storage).trials
    by_configuration = {}
    for run in damaged.nmlab.runs()[1]:
        if run.data.tags["nmlab.role"] == "search":
            by_configuration.setdefault(run.data.tags["nmlab.configuration"], []).append(run)
    complete = [
        sum(run.data.metrics["eval/perplexity"] for run in runs) / len(runs)
        for runs in by_configuration.values()
        if all(run.data.tags["nmlab.status"] == "finished" for run in runs)
    ]
    states = sorted(trial.state.name for trial in told if trial.user_attrs)
    assert states == ["COMPLETE"] * len(complete) + ["PRUNED"] * (len(by_configuration) - len(complete))
    assert sorted(trial.value for trial in told if trial.state.name == "COMPLETE") == pytest.approx(sorted(complete))
    assert all(100 in trial.intermediate_values for trial in told if trial.state.name == "PRUNED")


def test_a_program_reads_nothing_but_json_whatever_ray_has_to_say(damaged, undisturbed):
    for nmlab in (undisturbed[0], damaged.nmlab):
        assert json.loads((nmlab.folder / "out.txt").read_text())["status"] == "finished"

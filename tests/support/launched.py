"""Whole launches for tests and benchmarks: started from the command line, watched, killed, and compared.

Each runs in its own process session, by which its processes are found and ended.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from forked_commands import ForkedCommands
from mlflow.tracking import MlflowClient
from safetensors.numpy import load_file
from studies import small

NMLAB = Path(sys.executable).with_name("nmlab")
STEPS = 100
GRID = small(
    name="tiny-grid",
    calibration={"samples": 32, "sequence_length": 128, "batch_size": 16},
    evaluation={"sequence_length": 64, "windows": 16},
    fixed={"steps": STEPS, "learning_rate": 2.0, "logit_magnitude": 4.0, "initial_mask": "wanda"},
    baselines=["dense", "magnitude"],
    search={"algorithm": "grid"},
    seeds=[0, 1],
    replica={"count": 2, "slots": 1},
    intervals={"log_every": 10, "checkpoint_every": 20},
)
PLANNED = 2 + 2 * 2


@dataclass
class Nmlab:
    """A folder in which the command line runs, with its own MLflow store."""

    folder: Path
    study: str
    commands: ForkedCommands | None = None
    """What starts `nmlab` from a process that has imported it; without, it is a process of its own."""

    def start(self, *arguments, **variables):
        """Start ``nmlab`` in its own session, its output in files, with further environment variables."""
        return self._start(arguments, variables, out="out.txt", err="err.txt")

    def run(self, *arguments, **variables):
        """Run ``nmlab`` beside what was started; return its exit code and what it printed, errors last."""
        files = "out-beside.txt", "err-beside.txt"
        code = self._start(arguments, variables, out=files[0], err=files[1]).wait(240)
        return code, *((self.folder / name).read_text() for name in files)

    def _start(self, arguments, variables, *, out, err):
        env = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"} | variables
        with (self.folder / out).open("w") as stdout, (self.folder / err).open("w") as stderr:
            given = {"cwd": self.folder, "stdout": stdout, "stderr": stderr, "env": env}
            if self.commands is not None:
                return self.commands.start(*arguments, **given)
            return subprocess.Popen([NMLAB, *arguments], start_new_session=True, **given)

    def finish(self, process, *, seconds=240):
        """Wait for a process that must succeed and leave nothing running; return what it printed as JSON."""
        try:
            code = process.wait(seconds)
            wait_until(lambda: not session(process.pid), seconds=30, what="Ray to be gone")
        finally:
            kill_session(process.pid)
        printed = (self.folder / "out.txt").read_text()
        assert code == 0, f"exit code {code}\n{printed}\n{(self.folder / 'err.txt').read_text()}"
        return json.loads(printed[printed.index("{\n") :])

    def wait_until(self, condition, *, process, what, seconds=240):
        """Wait until ``condition()`` is true, at most while ``process`` runs; return its value."""

        def answer():
            assert process.poll() is None, f"ended before {what}: {(self.folder / 'err.txt').read_text()}"
            return condition()

        return wait_until(answer, seconds=seconds, what=what)

    @property
    def launch(self):
        """Return the folder of the only launch."""
        (folder,) = (self.folder / "results" / self.study).iterdir()
        return folder

    def status(self):
        return json.loads((self.launch / "status.json").read_text())

    def journal(self):
        """Return the records of the journal's whole lines so far."""
        found = list((self.folder / "results" / self.study).glob("*/journal.jsonl"))
        lines = found[0].read_text().splitlines(keepends=True) if found else []
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
        assert len(starts) == len(set(starts)), "an initial mask is recorded twice"
        return parent, children

    def points(self):
        """Return every metric row of the store: (run, metric, step, value), as often as it is there."""
        with sqlite3.connect(self.folder / "nmlab.db") as database:
            return list(database.execute("select run_uuid, key, step, value from metrics"))


def session(leader):
    """Return the living processes of the session that a process leads: command lines by process id."""
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
    """Return the processes of a session except Ray's two agents, which stay half a minute after a crash, idle."""
    agents = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
    return [pid for pid, command in session(leader).items() if not command.startswith(agents)]


def kill_session(leader):
    """Kill what is left of a session that this test started."""
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


def steps_so_far(journal):
    """Return the last step of each trial that has not ended."""
    steps = {record["key"]: record["step"] for record in journal if record["event"] == "metrics"}
    return {key: step for key, step in steps.items() if key not in set(keys(journal, "ended"))}


def standstills(journal):
    """Return how long each trial that was moved made no progress, in seconds: from its last step to the next new one.

    First the trials that went on with a replica that was up, then those that waited until one was started again. The
    time without a driver is left out.
    """
    reached, moved, came_up, at_hand, restarted = {}, {}, {}, [], []
    for position, record in enumerate(journal):
        event, key = record["event"], record.get("key")
        if event == "launch began":
            reached, moved, came_up = {}, {}, {}
        elif event == "replica":
            came_up[record["host"]] = position
        elif event == "leased" and key in reached:
            moved[key] = record["host"]
        elif event == "metrics" and record["step"] > reached.get(key, (0, 0, 0))[0]:
            if key in moved:
                _, since, last = reached[key]
                waits = restarted if came_up[moved.pop(key)] > last else at_hand
                waits.append((record["time"] - since) / 1000)
            reached[key] = (record["step"], record["time"], position)
    return at_hand, restarted


def check_complete(nmlab, *, planned, frozen=("verified",)):
    """Check that every planned trial is there once and finished, and that no point is there twice.

    ``frozen`` are the allowed states of the frozen weights at the end.
    """
    parent, children = nmlab.runs()
    assert parent.data.tags["nmlab.planned"] == str(planned)
    assert parent.data.tags["nmlab.status"] == "finished"
    assert parent.data.tags["nmlab.frozen_weights"] in frozen
    assert len({run.data.tags["nmlab.trial_key"] for run in children}) == len(children) == planned
    points = [(run, name, step) for run, name, step, _ in nmlab.points()]
    assert len(points) == len(set(points))
    assert all(run.info.status != "RUNNING" for run in (parent, *children))
    return parent, children


def results(nmlab):
    """Return the whole result of each trial, by key: losses and perplexities at every step, and the mask."""
    _, children = nmlab.runs()
    by_run = {run.info.run_id: run.data.tags["nmlab.trial_key"] for run in children}
    found = {key: {} for key in by_run.values()}
    for run, name, step, value in nmlab.points():
        if name.startswith(("eval/", "initial/", "train/")):
            found[by_run[run]][name, step] = value
    for key, values in found.items():
        bundle = nmlab.launch / "trials" / key / "mask.safetensors"
        if bundle.is_file():
            values["mask"] = {name: bits.tolist() for name, bits in load_file(bundle).items()}
    return found


def same_results(ours, theirs):
    """Return whether two launches have the same values, bit for bit."""
    assert ours.keys() == theirs.keys()
    for key, values in theirs.items():
        assert ours[key].keys() == values.keys()
        assert all(np.array_equal(ours[key][place], value) for place, value in values.items() if place != "mask")
    return {key: values.get("mask") for key, values in ours.items()} == {
        key: values.get("mask") for key, values in theirs.items()
    }

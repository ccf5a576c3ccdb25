"""Whole launches: started from the command line, watched, killed, and compared.

Each runs in its own process session, by which its processes are found and ended.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from safetensors.numpy import load_file

from nmlab.platform.testing.real_launches.studies import small
from nmlab.reports.read.mlflow_access import library
from nmlab.trials.contract import run_artifacts, run_tags
from nmlab.trials.contract.run_status import MLFLOW_RUNNING, LaunchStatus

if TYPE_CHECKING:
    from mlflow.entities import Run

T = TypeVar("T")
Records = Sequence[Mapping[str, Any]]
"""Of a journal, as JSON."""

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

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start ``nmlab`` in its own session, its output in files, with further environment variables."""
        return self._start(arguments, variables, out="out.txt", err="err.txt")

    def run(self, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """Run ``nmlab`` beside what was started; return its exit code and what it printed, errors last."""
        out, err = "out-beside.txt", "err-beside.txt"
        code = self._start(arguments, variables, out=out, err=err).wait(240)
        return code, (self.folder / out).read_text(), (self.folder / err).read_text()

    def _start(
        self, arguments: Sequence[str], variables: Mapping[str, str], *, out: str, err: str
    ) -> subprocess.Popen[bytes]:
        env = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"} | dict(variables)
        with (self.folder / out).open("w") as stdout, (self.folder / err).open("w") as stderr:
            return self._process(arguments, stdout=stdout, stderr=stderr, env=env)

    def _process(
        self, arguments: Sequence[str], *, stdout: IO[str], stderr: IO[str], env: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        given: dict[str, Any] = {"cwd": self.folder, "stdout": stdout, "stderr": stderr, "env": env}
        return subprocess.Popen([NMLAB, *arguments], start_new_session=True, **given)

    def finish(self, process: subprocess.Popen[bytes], *, seconds: float = 240) -> dict[str, Any]:
        """Wait for a process that must succeed and leave nothing running; return what it printed as JSON."""
        try:
            code = process.wait(seconds)
            wait_until(lambda: not session(process.pid), seconds=30, what="Ray to be gone")
        finally:
            kill_session(process.pid)
        printed = (self.folder / "out.txt").read_text()
        assert code == 0, f"exit code {code}\n{printed}\n{(self.folder / 'err.txt').read_text()}"
        return dict(json.loads(printed[printed.index("{\n") :]))

    def wait_until(
        self, condition: Callable[[], T], *, process: subprocess.Popen[bytes], what: str, seconds: float = 240
    ) -> T:
        """Wait until ``condition()`` is true, at most while ``process`` runs; return its value."""

        def answer() -> T:
            assert process.poll() is None, f"ended before {what}: {(self.folder / 'err.txt').read_text()}"
            return condition()

        return wait_until(answer, seconds=seconds, what=what)

    @property
    def launch(self) -> Path:
        """Return the folder of the only launch."""
        (folder,) = (self.folder / "results" / self.study).iterdir()
        return folder

    def status(self) -> dict[str, Any]:
        return dict(json.loads((self.launch / "status.json").read_text()))

    def journal(self) -> list[dict[str, Any]]:
        """Return the records of the journal's whole lines so far."""
        for path in (self.folder / "results" / self.study).glob("*/journal.jsonl"):
            now = path.stat()
            return list(_records(path, now.st_size, now.st_mtime_ns))
        return []

    def runs(self) -> tuple["Run", list["Run"]]:
        """Return the parent run and the child runs in MLflow."""
        client = library.client(f"sqlite:///{self.folder / 'nmlab.db'}")
        experiment = client.get_experiment_by_name(self.study)
        assert experiment is not None
        found = client.search_runs([experiment.experiment_id])
        (parent,) = [run for run in found if run.data.tags[run_tags.KIND] == run_tags.RunKind.LAUNCH]
        below = [run for run in found if run.data.tags.get(run_tags.PARENT_RUN) == parent.info.run_id]
        assert len(found) == 1 + len(below)
        children = [run for run in below if run.data.tags[run_tags.KIND] == run_tags.RunKind.TRIAL]
        starts = [run.data.tags[run_tags.INITIAL_MASK_DIGEST] for run in below if run not in children]
        assert len(starts) == len(set(starts)), "an initial mask is recorded twice"
        return parent, children

    def points(self) -> list[tuple[str, str, int, float]]:
        """Return every metric row of the store: (run, metric, step, value), as often as it is there."""
        with sqlite3.connect(self.folder / "nmlab.db") as database:
            return list(database.execute("select run_uuid, key, step, value from metrics"))


@lru_cache(maxsize=4)
def _records(path: Path, size: int, changed_ns: int) -> list[dict[str, Any]]:
    """Return the records of a journal's whole lines; whoever waits for one looks twenty times a second."""
    lines = path.read_bytes()[:size].decode().splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n") and line.strip()]


def session(leader: int) -> dict[int, str]:
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


def workers(leader: int) -> list[int]:
    """Return the processes of a session except Ray's two agents, which stay half a minute after a crash, idle."""
    agents = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
    return [pid for pid, command in session(leader).items() if not command.startswith(agents)]


def kill_session(leader: int) -> None:
    """Kill what is left of a session that this test started."""
    for pid in session(leader):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_until(condition: Callable[[], T], *, seconds: float, what: str) -> T:
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return answer


def keys(records: Records, event: str) -> list[str]:
    return [record["key"] for record in records if record["event"] == event]


def steps_so_far(journal: Records) -> dict[str, int]:
    """Return the last step of each trial that has not ended."""
    steps = {record["key"]: record["step"] for record in journal if record["event"] == "metrics"}
    return {key: step for key, step in steps.items() if key not in set(keys(journal, "ended"))}


def replicas_up(journal: Records) -> dict[str, Mapping[str, Any]]:
    """Return the records of the replicas that are up, by name."""
    found: dict[str, Mapping[str, Any]] = {}
    for record in journal:
        if record["event"] == "launch began":
            found = {}
        elif record["event"] == "replica":
            found[record["host"]] = record
        elif record["event"] == "replica lost":
            found.pop(record["host"], None)
    return found


def standstills(journal: Records) -> tuple[list[float], list[float]]:
    """Return how long each trial that was moved made no progress, in seconds: from its last step to the next new one.

    First the trials that went on with a replica that was up, then those that waited until one was started again. The
    time without a driver is left out.
    """
    reached: dict[str, tuple[int, int, int]] = {}  # step, time in milliseconds, position
    moved: dict[str, str] = {}
    came_up: dict[str, int] = {}
    at_hand: list[float] = []
    restarted: list[float] = []
    for position, record in enumerate(journal):
        event, key = record["event"], record.get("key", "")
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


def check_complete(nmlab: Nmlab, *, trials: int, frozen: Sequence[str] = ("verified",)) -> tuple["Run", list["Run"]]:
    """Check that every planned trial is there once and finished, and that no point is there twice.

    ``frozen`` are the allowed states of the frozen weights at the end.
    """
    parent, children = nmlab.runs()
    assert parent.data.tags[run_tags.PLANNED] == str(trials)
    assert parent.data.tags[run_tags.STATUS] == LaunchStatus.FINISHED
    assert parent.data.tags[run_tags.FROZEN_WEIGHTS] in frozen
    assert len({run.data.tags[run_tags.TRIAL_KEY] for run in children}) == len(children) == trials
    points = [(run, name, step) for run, name, step, _ in nmlab.points()]
    assert len(points) == len(set(points))
    assert all(run.info.status != MLFLOW_RUNNING for run in (parent, *children))
    return parent, children


def results(nmlab: Nmlab) -> dict[str, dict[Any, Any]]:
    """Return the whole result of each trial, by key: losses and perplexities at every step, and the mask."""
    _, children = nmlab.runs()
    by_run = {run.info.run_id: run.data.tags[run_tags.TRIAL_KEY] for run in children}
    found: dict[str, dict[Any, Any]] = {key: {} for key in by_run.values()}
    for run, name, step, value in nmlab.points():
        if name.startswith(("eval/", "initial/", "train/")):
            found[by_run[run]][name, step] = value
    for key, values in found.items():
        bundle = nmlab.launch / "trials" / key / run_artifacts.MASK_FILE
        if bundle.is_file():
            values["mask"] = {name: bits.tolist() for name, bits in load_file(bundle).items()}
    return found

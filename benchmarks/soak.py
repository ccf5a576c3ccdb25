"""Sweeps with random faults: at the end every planned trial must be there once, with the undisturbed result.

Launches of many small trials follow each other until the time is over. Every 20 to 40 s a Train worker, a trial actor,
the dispatcher, a Train controller or the driver is killed with SIGKILL; after the driver, `nmlab resume` is started. Or
a second `nmlab resume` is started beside the running driver, and must be refused; or a node joins that does not see the
launch's folder, a Train worker is killed, and no trial may be given to that node. Afterwards each launch must hold
exactly its planned trials, each point once, all results bit-identical to those of an undisturbed launch, and leave no
process and no unexpected file behind.

    python benchmarks/soak.py --minutes 60 --seed 1 --json soak.json
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from nmlab.platform.testing.real_launches.launched import (
    GRID,
    NMLAB,
    Nmlab,
    check_complete,
    keys,
    kill_session,
    results,
    session,
    standstills,
    wait_until,
    workers,
)
from nmlab.platform.testing.real_launches.raylet_cluster import can_hide_folders, start_blind_node

VICTIMS = {
    "worker": "ray::RayTrainWorker",
    "trial actor": "ray::TrialActor",
    "dispatcher": "ray::Dispatcher",
    "controller": "ray::TrainController",
    "driver": "",
}
SECOND_OWNER, BLIND_NODE = "second owner", "late node without the folder"
REFUSED_S, JOINED_S = 120.0, 60.0
# What a launch may leave in its folder; see docs/architecture.md. Trials' folders are looked into as well.
EXPECTED = {
    *("launch.json", "study.yaml", "environment.json", "status.json", "journal.jsonl", "log.jsonl", "ray.log"),
    *("optuna.journal", "trials", "initial_masks", "ray", "owner.json", "owner.lock"),
}
FOLLOWED_S = 150.0
LITTER = (".partial", ".damaged", ".tmp")


@dataclass
class Soak:
    """The faults that the launches get, and what is measured of them."""

    folder: Path
    seed: int
    trials: int
    pause: tuple[float, float]
    kills: list[tuple[float, str]] = field(default_factory=list)
    memory: dict[int, list[tuple[float, int]]] = field(default_factory=dict)
    durations: list[float] = field(default_factory=list)
    at_hand: list[float] = field(default_factory=list)
    restarted: list[float] = field(default_factory=list)
    followed: list[float] = field(default_factory=list)
    refused: int = 0  # replicas on nodes that do not see the folder
    kinds: list[str] = field(default_factory=list)  # what is still to come of this round
    blind: list[subprocess.Popen] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.start = time.monotonic()

    def launch(self, name: str, *, until: float) -> Nmlab:
        """Run a launch to its end, with faults until the given time; return its folder.

        A soak that is shorter than the start of its first launch goes on until it has killed something.
        """
        nmlab = Nmlab(self.folder / name, GRID["name"])
        (nmlab.folder / "tmp").mkdir(parents=True)
        (nmlab.folder / "grid.yaml").write_text(yaml.safe_dump(self._study()))
        began = time.monotonic()
        process = nmlab.start("sweep", "grid.yaml", "--json", "--no-report", TMPDIR=str(nmlab.folder / "tmp"))
        try:
            while process.poll() is None:
                self._wait(nmlab, process, self.random.uniform(*self.pause))
                is_time = until and (time.monotonic() < until or not self.kills)
                if is_time and process.poll() is None and at_work(nmlab, process.pid):
                    process = self._cause_fault(nmlab, process)
            printed = nmlab.finish(process)
        except BaseException:
            kill_session(process.pid)
            raise
        finally:
            self._end_blind_nodes()
        self.refused += check_blind_nodes(nmlab)
        self.durations.append(time.monotonic() - began)
        at_hand, restarted = standstills(nmlab.journal())
        self.at_hand += at_hand
        self.restarted += restarted
        assert printed["counts"] == {"finished": self.planned}, printed
        return nmlab

    @property
    def planned(self) -> int:
        return self.trials + len(GRID["baselines"])

    def _study(self) -> dict:
        """Return a study of small trials, all different: a quarter of them by alpha, times four seeds."""
        alphas = [round(0.5 + 0.49 * index / (self.trials // 4), 4) for index in range(self.trials // 4)]
        fixed, intervals = {**GRID["fixed"], "steps": 60}, {"log_every": 5, "checkpoint_every": 10}
        space = {"alpha": {"grid": alphas}}
        return {**GRID, "fixed": fixed, "intervals": intervals, "space": space, "seeds": [0, 1, 2, 3]}

    def _wait(self, nmlab: Nmlab, process, seconds: float) -> None:
        """Wait so long, or until the process ends; sample the driver's memory meanwhile, once its imports are done."""
        deadline = time.monotonic() + seconds
        series = self.memory.setdefault(process.pid, [])
        while process.poll() is None and time.monotonic() < deadline:
            if at_work(nmlab, process.pid):
                series.append((round(time.monotonic() - self.start, 1), resident_bytes(process.pid)))
            time.sleep(1.0)

    def _cause_fault(self, nmlab: Nmlab, process):
        """Cause a fault; return the process that is the driver from now on."""
        if not self.kinds:  # every kind comes before one comes again
            self.kinds = [*VICTIMS, SECOND_OWNER, *([BLIND_NODE] if can_hide_folders() else [])]
            self.random.shuffle(self.kinds)
        what = self.kinds.pop()
        if what == SECOND_OWNER:
            if (nmlab.launch / "owner.json").is_file():
                self._note(what, process.pid)
                check_second_owner(nmlab, process)
            return process
        if what == BLIND_NODE:
            if not self.blind and (node := add_blind_node(nmlab, process)):
                self.blind.append(node)
                self._note(what, node.pid)
                return self._kill("worker", nmlab, process)
            return process
        return self._kill(what, nmlab, process)

    def _note(self, what: str, pid: int) -> None:
        self.kills.append((round(time.monotonic() - self.start, 1), what))
        print(f"{self.kills[-1][0]:7.1f} s: {what} ({pid})", flush=True)

    def _end_blind_nodes(self) -> None:
        while self.blind:
            node = self.blind.pop()
            kill_session(node.pid)
            node.wait()

    def _kill(self, what: str, nmlab: Nmlab, process):
        """Kill a process; return the process that is the driver from now on."""
        found = [pid for pid, command in session(process.pid).items() if command.startswith(VICTIMS[what])]
        if what != "driver" and not found:
            return process  # it is being restarted
        pid = process.pid if what == "driver" else self.random.choice(sorted(found))
        self._note(what, pid)
        os.kill(pid, signal.SIGKILL)
        if what != "driver":
            return process
        process.wait()
        self._end_blind_nodes()
        self.followed.append(until_gone(pid))
        return nmlab.start("resume", "--json", "--no-report", TMPDIR=str(nmlab.folder / "tmp"))


def check_second_owner(nmlab: Nmlab, process) -> None:
    """Start `nmlab resume` beside the running driver; raise unless it is refused in one line that names the owner."""
    resumed = subprocess.run(
        [NMLAB, "resume", "--json", "--no-report"],
        cwd=nmlab.folder,
        capture_output=True,
        text=True,
        timeout=REFUSED_S,
        check=False,
    )
    if process.poll() is None:  # otherwise the launch had no owner by then
        text = resumed.stderr.strip()
        assert resumed.returncode == 2, (resumed.returncode, resumed.stdout, text)
        assert f"is owned by process {process.pid}" in text, text
        assert len(text.splitlines()) == 1, resumed.stderr


def add_blind_node(nmlab: Nmlab, process) -> subprocess.Popen | None:
    """Add a node that does not see the launches to a driver's Ray session; None if the session is not up."""
    found = session(process.pid)
    address = re.search(r"--gcs-address=(\S+)", " ".join(found.values()))
    token = next((path for pid in found if (path := environment(pid).get("RAY_AUTH_TOKEN_PATH"))), None)
    if address is None or token is None:
        return None
    out = nmlab.folder / f"blind-{time.monotonic_ns()}.txt"
    access = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": token, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    node = start_blind_node(address[1], nmlab.folder / "results", out=out, RAY_USAGE_STATS_ENABLED="0", **access)

    def joined() -> bool:
        return "Ray runtime started" in out.read_text() or process.poll() is not None

    wait_until(joined, seconds=JOINED_S, what=f"the node to join: {out.read_text()}")
    return node


def environment(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with; nothing where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line)


def check_blind_nodes(nmlab: Nmlab) -> int:
    """Return how many replicas were refused for their node; raise if a replica on such a node was given a trial."""
    journal = nmlab.journal()
    refused = [record for record in journal if record["event"] == "replica refused"]
    nodes = {node for record in refused for node in record["nodes"]}
    assert all("cannot read the launch's folder" in record["reason"] for record in refused), refused
    assert not nodes & {record["node_id"] for record in journal if record["event"] == "replica"}
    return len(refused)


def until_gone(driver: int) -> float:
    """Return how many seconds the other processes of a killed driver took to end.

    Most end at once; without its head, a process of Ray looks for it for 60 s (gcs_rpc_server_reconnect_timeout_s).
    """
    began = time.monotonic()
    while left := workers(driver):
        took = time.monotonic() - began
        names = [command[:60] for pid, command in session(driver).items() if pid in left]
        assert took < FOLLOWED_S, f"{took:.0f} s after their driver there are still {names}"
        time.sleep(0.2)
    kill_session(driver)
    return time.monotonic() - began


def at_work(nmlab: Nmlab, driver: int) -> bool:
    """Return whether the driver has started its dispatcher; killing it earlier tests nothing."""
    return (nmlab.folder / "results").is_dir() and any(
        c.startswith("ray::Dispatcher") for c in session(driver).values()
    )


def resident_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)


def check(nmlab: Nmlab, reference: dict, *, planned: int) -> None:
    """Raise if something is lost, doubled, different or left over."""
    # If the driver is killed after the last trial and before its replicas check the weights, they are not checked.
    check_complete(nmlab, planned=planned, frozen=("verified", "unverified"))
    ended = Counter(keys(nmlab.journal(), "ended"))
    assert len(ended) == planned, "a trial is missing in the journal"
    assert results(nmlab) == reference, "a result differs from the undisturbed one"
    unexpected = {path.name for path in nmlab.launch.iterdir()} - EXPECTED
    litter = [str(path) for path in (nmlab.launch / "trials").rglob("*") if path.name.endswith(LITTER)]
    assert not [*unexpected, *litter, *left_behind(nmlab)], (unexpected, litter, left_behind(nmlab))


def left_behind(nmlab: Nmlab) -> list[str]:
    """Return the temporary files of a launch, apart from Ray's folder of logs and torch's cache of kernels."""
    names = (path.name for path in (nmlab.folder / "tmp").iterdir())
    return sorted(name for name in names if name != "ray" and not name.startswith("torchinductor_"))


def growth(series: list[tuple[float, int]]) -> float | None:
    """Return by how much memory grew from the second quarter of a driver's work to the last, as a ratio.

    Tune and MLflow import more modules in the first seconds; the series of a short-lived driver is too short.
    """
    sizes = [size for _, size in series if size]
    if len(sizes) < 80:
        return None
    quarter = len(sizes) // 4
    return statistics.median(sizes[-quarter:]) / statistics.median(sizes[quarter : 2 * quarter])


def spread(seconds: list[float]) -> dict[str, float]:
    """Return how many there are, their median and the longest."""
    if not seconds:
        return {"count": 0}
    median, longest = round(statistics.median(seconds), 1), round(max(seconds), 1)
    return {"count": len(seconds), "median": median, "longest": longest}


@contextmanager
def kept_on_failure() -> Iterator[Path]:
    """Make a folder that is removed at the end, unless an error ends the block."""
    folder = Path(tempfile.mkdtemp(prefix="nmlab-soak-"))
    try:
        yield folder
    except BaseException:
        print(f"everything is still in {folder}", flush=True)
        raise
    shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--trials", type=int, default=100, help="learned trials of a launch, a multiple of four")
    parser.add_argument("--pause", type=float, nargs=2, default=(20.0, 40.0), metavar=("FROM", "TO"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    with kept_on_failure() as folder:
        soak = Soak(folder, seed, options.trials, tuple(options.pause))
        reference = soak.launch("reference", until=0.0)
        expected = results(reference)
        check(reference, expected, planned=soak.planned)
        undisturbed, soak.start = soak.durations.pop(), time.monotonic()
        until = soak.start + 60 * options.minutes
        while time.monotonic() < until or not soak.kills:
            nmlab = soak.launch(f"launch-{len(soak.durations)}", until=until)
            check(nmlab, expected, planned=soak.planned)
            print(f"launch {len(soak.durations)}: {soak.planned} trials are as they should be", flush=True)
    lives = list(soak.memory.values())
    grown = [ratio for life in lives if (ratio := growth(life)) is not None]
    record = {
        "seed": seed,
        "minutes": round((time.monotonic() - soak.start) / 60, 1),
        "load_average": os.getloadavg(),
        "launches": len(soak.durations),
        "trials": soak.planned * len(soak.durations),
        "kills": dict(Counter(what for _, what in soak.kills)),
        "replicas_refused_for_their_node": soak.refused,
        "seconds_undisturbed": round(undisturbed, 1),
        "seconds_a_launch": [round(seconds, 1) for seconds in soak.durations],
        "seconds_until_another_replica_went_on": spread(soak.at_hand),
        "seconds_until_one_was_started_again": spread(soak.restarted),
        "seconds_until_all_had_followed_their_driver": spread(soak.followed),
        "driver_memory_growth": [round(ratio, 3) for ratio in grown],
        "driver_memory": [life[:: max(1, len(life) // 30)] for life in lives],
        "claim": "nothing lost, nothing twice, results bit-identical, nothing left behind, driver memory flat (+10 %)",
        "holds": bool(soak.kills) and all(ratio < 1.1 for ratio in grown),
    }
    print(json.dumps({name: value for name, value in record.items() if name != "driver_memory"}, indent=2))
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(not record["holds"])


if __name__ == "__main__":
    main()

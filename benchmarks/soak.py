"""Sweeps with random faults: at the end every planned trial must be there once, with the undisturbed result.

Launches of many small trials follow each other until the time is over: in turn on a cluster of raylets that is there
before the launch, and on a local Ray session of the launch's own. Every 20 to 40 s a Train worker, a trial actor, the
dispatcher, a Train controller or the driver is killed with SIGKILL; after the driver, `nmlab resume` is started. Or a
second `nmlab resume` is started beside the running driver, and must be refused.

On a cluster the first fault is a late node: a node joins that does not see the launch's folder, and the node of a
replica is killed. The replica has room on the late node alone, where it must be refused, and the launch's status must
name that node. The late node stays until the end.

Afterwards each launch must hold exactly its planned trials, each point once, all results bit-identical to those of an
undisturbed launch; no trial may have been given to a late node; and no process and no unexpected file may be left.

    python benchmarks/soak.py --minutes 60 --seed 1 --json soak.json
"""

import argparse
import json
import os
import random
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
from soak_checks import check, check_second_owner, growth, resident_bytes, spread
from soak_clusters import LocalSession, RayletCluster, check_late_nodes, until_gone

from nmlab.platform.testing.real_launches.launched import GRID, Nmlab, kill_session, results, standstills
from nmlab.platform.testing.real_launches.raylet_cluster import can_hide_folders
from nmlab.platform.tracking.provenance import provenance
from nmlab.trials.contract import run_tags

VICTIMS = {
    "worker": "ray::RayTrainWorker",
    "trial actor": "ray::TrialActor",
    "dispatcher": "ray::Dispatcher",
    "controller": "ray::TrainController",
    "driver": "",
}
SECOND_OWNER, LATE_NODE = "second owner", "late node without the folder"
FOLLOWED_S, LEFT_S = 150.0, 60.0
IN_TURN = (RayletCluster, LocalSession)


@dataclass
class Soak:
    """The faults that the launches get, and what is measured of them."""

    folder: Path
    seed: int
    trials: int
    pause: tuple[float, float]
    faults: list[tuple[float, str]] = field(default_factory=list)
    memory: dict[int, list[tuple[float, int]]] = field(default_factory=dict)
    load: list[float] = field(default_factory=list)  # of the last minute, every second
    launches: list[tuple[str, float]] = field(default_factory=list)  # what each ran on, and its seconds
    at_hand: list[float] = field(default_factory=list)
    restarted: list[float] = field(default_factory=list)
    followed: list[float] = field(default_factory=list)
    refused: int = 0  # replicas on late nodes
    kinds: list[str] = field(default_factory=list)  # what is still to come of this round

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.start = time.monotonic()

    def launch(self, name: str, *, until: float, on: type[LocalSession] = LocalSession) -> Nmlab:
        """Run a launch to its end, with faults until the given time; return its folder."""
        nmlab = Nmlab(self.folder / name, GRID["name"])
        (nmlab.folder / "tmp").mkdir(parents=True)
        ray = on(nmlab)
        began = time.monotonic()
        try:
            (nmlab.folder / "grid.yaml").write_text(yaml.safe_dump({**self._study(), "replica": ray.replica}))
            self._run(nmlab, ray, until=until)
            self.launches.append((ray.name, time.monotonic() - began))
            self.refused += check_late_nodes(nmlab, ray.late)
        finally:
            ray.close()
        at_hand, restarted = standstills(nmlab.journal())
        self.at_hand += at_hand
        self.restarted += restarted
        return nmlab

    @property
    def trials_in_all(self) -> int:
        return self.trials + len(GRID["baselines"])

    def _study(self) -> dict:
        """Return a study of small trials, all different: a quarter of them by alpha, times four seeds."""
        alphas = [round(0.5 + 0.49 * index / (self.trials // 4), 4) for index in range(self.trials // 4)]
        fixed, intervals = {**GRID["fixed"], "steps": 60}, {"log_every": 5, "checkpoint_every": 10}
        space = {"alpha": {"grid": alphas}}
        return {**GRID, "fixed": fixed, "intervals": intervals, "space": space, "seeds": [0, 1, 2, 3]}

    def _run(self, nmlab: Nmlab, ray: LocalSession, *, until: float) -> None:
        """Start a launch, cause faults, and wait for its end.

        A soak that is shorter than the start of its first launch goes on until it has caused one.
        """

        def is_time() -> bool:
            return bool(until) and (time.monotonic() < until or not self.faults)

        process = nmlab.start("sweep", "grid.yaml", "--json", "--no-report", *ray.arguments, **ray.variables)
        try:
            if isinstance(ray, RayletCluster) and is_time() and can_hide_folders():
                self._note(LATE_NODE, ray.join_late(nmlab, process, chance=self.random))
            while process.poll() is None:
                self._wait(nmlab, ray, process, seconds=self.random.uniform(*self.pause))
                if is_time() and process.poll() is None and is_at_work(nmlab, ray, process.pid):
                    process = self._cause_fault(nmlab, ray, process)
            printed = nmlab.finish(process)
            until_gone(ray, process.pid, seconds=LEFT_S)
        except BaseException:
            kill_session(process.pid)
            raise
        assert printed["counts"] == {"finished": self.trials_in_all}, printed

    def _wait(self, nmlab: Nmlab, ray: LocalSession, process: subprocess.Popen, *, seconds: float) -> None:
        """Wait so long, or until the process ends; sample the driver's memory meanwhile, once its imports are done."""
        deadline = time.monotonic() + seconds
        series = self.memory.setdefault(process.pid, [])
        while process.poll() is None and time.monotonic() < deadline:
            self.load.append(os.getloadavg()[0])
            if is_at_work(nmlab, ray, process.pid):
                series.append((round(time.monotonic() - self.start, 1), resident_bytes(process.pid)))
            time.sleep(1.0)

    def _cause_fault(self, nmlab: Nmlab, ray: LocalSession, process: subprocess.Popen) -> subprocess.Popen:
        """Cause a fault; return the process that is the driver from now on."""
        if not self.kinds:  # every kind comes before one comes again
            self.kinds = [*VICTIMS, SECOND_OWNER]
            self.random.shuffle(self.kinds)
        what = self.kinds.pop()
        if what != SECOND_OWNER:
            return self._kill(what, nmlab, ray, process)
        if (nmlab.launch / "owner.json").is_file():
            self._note(what, process.pid)
            check_second_owner(nmlab, process, variables=ray.variables)
        return process

    def _note(self, what: str, whom: int | str) -> None:
        self.faults.append((round(time.monotonic() - self.start, 1), what))
        print(f"{self.faults[-1][0]:7.1f} s: {what} ({whom})", flush=True)

    def _kill(self, what: str, nmlab: Nmlab, ray: LocalSession, process: subprocess.Popen) -> subprocess.Popen:
        """Kill a process; return the process that is the driver from now on."""
        found = [pid for pid, command in ray.processes(process.pid).items() if command.startswith(VICTIMS[what])]
        if what != "driver" and not found:
            return process  # it is being restarted
        pid = process.pid if what == "driver" else self.random.choice(sorted(found))
        self._note(what, pid)
        os.kill(pid, signal.SIGKILL)
        if what != "driver":
            return process
        process.wait()
        self.followed.append(until_gone(ray, pid, seconds=FOLLOWED_S))
        kill_session(pid)
        return nmlab.start("resume", "--json", "--no-report", **ray.variables)


def is_at_work(nmlab: Nmlab, ray: LocalSession, driver: int) -> bool:
    """Return whether the driver has started its dispatcher; killing it earlier tests nothing."""
    commands = ray.processes(driver).values()
    return (nmlab.folder / "results").is_dir() and any(c.startswith("ray::Dispatcher") for c in commands)


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


def record_of(soak: Soak, *, undisturbed: float) -> dict:
    """Return what was done and measured, and whether the claim holds."""
    lives, kinds = list(soak.memory.values()), Counter(what for _, what in soak.faults)
    grown = [ratio for life in lives if (ratio := growth(life)) is not None]
    expected = {LATE_NODE} if can_hide_folders() else set()
    return {
        "seed": soak.seed,
        "commit": provenance()[run_tags.GIT_COMMIT],
        "uncommitted_changes": provenance()[run_tags.GIT_DIRTY],
        "minutes": round((time.monotonic() - soak.start) / 60, 1),
        "load": {
            "least": min(soak.load, default=0.0),
            "median": statistics.median(soak.load or [0.0]),
            "most": max(soak.load, default=0.0),
        },
        "launches": dict(Counter(name for name, _ in soak.launches)),
        "trials": soak.trials_in_all * len(soak.launches),
        "faults": {what: kinds[what] for what in (*VICTIMS, SECOND_OWNER, LATE_NODE)},
        "replicas_refused_on_late_nodes": soak.refused,
        "seconds_undisturbed": round(undisturbed, 1),
        "seconds_a_launch": [round(seconds, 1) for _, seconds in soak.launches],
        "seconds_until_another_replica_went_on": spread(soak.at_hand),
        "seconds_until_one_was_started_again": spread(soak.restarted),
        "seconds_until_all_had_followed_their_driver": spread(soak.followed),
        "driver_memory_growth": [round(ratio, 3) for ratio in grown],
        "driver_memory": [life[:: max(1, len(life) // 30)] for life in lives],
        "claim": "nothing lost, nothing twice, results bit-identical, late nodes refused by name, nothing left behind, "
        + ("driver memory flat (+10 %)" if grown else "driver memory not judged: no driver lived long enough"),
        "holds": bool(kinds) and expected <= kinds.keys() and all(ratio < 1.1 for ratio in grown),
    }


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
    if not can_hide_folders():
        print("no late nodes: they need mount namespaces (unshare -Urm), which this system forbids", flush=True)
    with kept_on_failure() as folder:
        soak = Soak(folder, seed, options.trials, tuple(options.pause))
        reference = soak.launch("reference", until=0.0)
        expected = results(reference)
        check(reference, expected, trials=soak.trials_in_all)
        (_, undisturbed), soak.start = soak.launches.pop(), time.monotonic()
        until = soak.start + 60 * options.minutes
        while time.monotonic() < until or not soak.faults:
            number = len(soak.launches)
            nmlab = soak.launch(f"launch-{number}", until=until, on=IN_TURN[number % 2])
            check(nmlab, expected, trials=soak.trials_in_all)
            where = soak.launches[-1][0]
            print(f"launch {number + 1}, on a {where}: {soak.trials_in_all} trials are as they should be", flush=True)
        record = record_of(soak, undisturbed=undisturbed)
    print(json.dumps({name: value for name, value in record.items() if name != "driver_memory"}, indent=2))
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(not record["holds"])


if __name__ == "__main__":
    main()

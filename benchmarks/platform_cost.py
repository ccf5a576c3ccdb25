"""What nmlab itself takes beside the trials: processor time while they run, and how fast it writes to MLflow.

*Processor time.* A sweep of long trials on the built-in model runs in a session of its own, one trial a replica. Over a
minute in which all of them are under way, the processor time of every process of the session is
taken: the Train workers, which compute the trials; what nmlab runs beside them (the driver, the dispatcher, a trial
actor each); and what Ray runs for itself, on an idle cluster too. The claim is about the second part, per replica.

*MLflow.* A launch's journal is filled with the points of trials at once, and the recorder writes them to a fresh sqlite
store; metric values a second, and how long a caller of the recorder waits.

    python benchmarks/platform_cost.py --json platform_cost.json
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import yaml

from nmlab.platform.testing.real_launches.launched import GRID, Nmlab, kill_session, session, wait_until

if TYPE_CHECKING:
    from nmlab.platform.records.events import TrialMetrics

WORKERS, OURS = ("ray::RayTrainWorker", "replica-"), ("ray::Dispatcher", "ray::TrialActor", "ray::MaskParallel")
STUDY = {
    **GRID,
    "fixed": {**GRID["fixed"], "steps": 1_000_000},
    "space": {"alpha": {"grid": [0.9]}},
    "baselines": [],
    "intervals": {"log_every": 100, "checkpoint_every": 500},
}
TRIALS, STEPS, VALUES = 10, 1000, ("loss", "residual", "delta", "flips", "mask_change")


def processor_time(*, seconds: float) -> dict[str, float]:
    """Return the shares of a core that each part of a sweep takes, per replica."""
    with tempfile.TemporaryDirectory() as name:
        nmlab = Nmlab(Path(name), STUDY["name"])
        (nmlab.folder / "long.yaml").write_text(yaml.safe_dump(STUDY))
        process = nmlab.start("sweep", "long.yaml", "--json", "--no-report")
        try:
            nmlab.wait_until(lambda: _under_way(nmlab), process=process, what="all trials were under way")
            time.sleep(5.0)
            before, start = _taken(process.pid), time.monotonic()
            time.sleep(seconds)
            after, passed = _taken(process.pid), time.monotonic() - start
        finally:
            kill_session(process.pid)
            wait_until(lambda: not session(process.pid), seconds=30, what="the sweep to be gone")
    replicas = STUDY["replica"]["count"]
    return {part: (after[part] - before[part]) / passed / replicas for part in after}


def _under_way(nmlab: Nmlab) -> bool:
    keys = {record["key"] for record in nmlab.journal() if record["event"] == "metrics" and record["step"] > 0}
    return len(keys) == len(STUDY["seeds"])


def _taken(driver: int) -> dict[str, float]:
    """Return the processor seconds of a session's processes until now, by part."""
    seconds = {"workers": 0.0, "nmlab": 0.0, "ray": 0.0}
    for pid, command in session(driver).items():
        times = psutil.Process(pid).cpu_times()
        part = "workers" if command.startswith(WORKERS) else "nmlab" if command.startswith(OURS) else "ray"
        seconds["nmlab" if pid == driver else part] += times.user + times.system
    return seconds


def mlflow_rate() -> dict[str, float]:
    """Return metric values a second into a fresh sqlite store, and how long a caller waits for a batch of points."""
    from nmlab.platform.launches import launch as launches
    from nmlab.platform.launches.journal import Journal
    from nmlab.platform.planning.study_trials import trial_spec
    from nmlab.platform.records.events import LaunchBegan, TrialSubmitted
    from nmlab.platform.search.initial_points import points
    from nmlab.platform.tracking import MlflowStore, Recorder
    from nmlab.search_spaces import loader

    study = loader.load("quickstart", overrides=[f"seeds={list(range(TRIALS))}"])
    first = next(iter(points(study)), None)
    assert first is not None
    specs = [trial_spec(study, first, seed=seed) for seed in study.seeds]
    with tempfile.TemporaryDirectory() as name:
        launch = launches.create(study, results=Path(name) / "results", settings={})
        launch.environment_file.write_text("{}\n", encoding="utf-8")
        store = MlflowStore(study.name, launch=launch.name, uri=f"sqlite:///{name}/nmlab.db")
        recorder = Recorder(launch, journal=Journal(launch), store=store, baselines=[], tags={})
        recorder.record([LaunchBegan(tags={}, params={})])
        for spec in specs:
            recorder.record([TrialSubmitted(key=spec.key, spec=spec.model_dump(mode="json"))])
        wait_until(lambda: not recorder.waiting_bytes, seconds=120, what="the runs to be there")
        start, waits = time.monotonic(), []
        for batch in _batches([spec.key for spec in specs]):
            called = time.perf_counter()
            recorder.record(batch)
            waits.append(time.perf_counter() - called)
        recorder.close()
        seconds = time.monotonic() - start
    count = TRIALS * STEPS * len(VALUES)
    return {"values": count, "values_a_second": count / seconds, "caller_waits_s": statistics.median(waits)}


def _batches(keys: list[str]) -> "list[list[TrialMetrics]]":
    """Return the points of all trials side by side, as a dispatcher passes them on: some steps of each at a time."""
    from nmlab.platform.records.events import TrialMetrics

    values = {f"train/{name}": 0.5 for name in VALUES}
    return [
        [
            TrialMetrics(key=key, step=step, time=step, values=values)
            for key in keys
            for step in range(begin, begin + 10)
        ]
        for begin in range(0, STEPS, 10)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rate = mlflow_rate()
    shares = processor_time(seconds=options.seconds)
    record = {
        "load_average": os.getloadavg(),
        "mlflow": rate,
        "cores_a_replica": {part: round(share, 4) for part, share in shares.items()},
        "claims": {
            "MLflow takes at least 1000 metric values a second": rate["values_a_second"] >= 1000,
            "driver, dispatcher and trial actors take at most 5 % of a core a replica": shares["nmlab"] <= 0.05,
        },
    }
    print(json.dumps(record, indent=2))
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(not all(record["claims"].values()))


if __name__ == "__main__":
    main()

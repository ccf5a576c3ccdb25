"""A sweep by nmlab against the same sweep by plain Ray Tune with a model loaded for every trial, in one run.

Both run the same 24 trials (MaskPro on a random Llama-shaped model, 25 M prunable weights, float32) four at a time on
the same machine. nmlab holds the model once in one replica with four slots; plain Tune starts an actor for each trial,
which loads the model and runs the very same trial. Measured are wall seconds from the start of Ray to its end, and the
peak of the memory of all processes of each sweep: the sum of their proportional set sizes (PSS), sampled twice a
second; and the same of those alone that compute trials, since the others (Ray's, Tune's, Train's, the driver) do not
grow with the model. Both ways load the model alike, mapped from its file, so that plain Tune's processes share its
pages too. nmlab's sweep records everything in MLflow; plain Tune keeps its own results only.

    python benchmarks/sweep_throughput.py --json sweep_throughput.json      # --small: 6 trials of a 5 M model
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

CONCURRENT = 4
COMPUTING = ("ray::RayTrainWorker", "ray::ImplicitFunc")


def study_of(folder: Path, *, trials: int, steps: int) -> dict[str, Any]:
    text = {"source": "builtin:python-docs", "sequence_length": 64}
    return {
        "name": "throughput",
        "model": {"source": str(folder / "model")},
        "data": {
            "calibration": {**text, "samples": 8, "batch_size": 2},
            "evaluation": {**text, "windows": 4, "batch_size": 2},
        },
        "pattern": "2:4",
        "method": "maskpro",
        "fixed": {"steps": steps, "logit_magnitude": 10.0},
        "space": {"alpha": {"grid": [round(0.5 + index / 100, 2) for index in range(trials)]}},
        "seeds": [0],
        "baselines": [],
        "replica": {"count": 1, "slots": CONCURRENT},
    }


def write_model(folder: Path, *, millions: int) -> None:
    from random_llama import random_llama

    frozen = random_llama(millions)
    frozen.module.save_pretrained(folder)
    frozen.tokenizer.save_pretrained(folder)


def plain(study: Path, results: Path) -> None:
    """Run the study's trials by plain Ray Tune; called in a process of its own."""
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    import ray
    from ray import tune

    from nmlab.platform.planning.study_trials import trial_spec
    from nmlab.search_spaces import loader
    from nmlab.search_spaces.space import grid_points

    loaded = loader.load(study)
    specs = [trial_spec(loaded, point, seed=0).model_dump(mode="json") for point in grid_points(loaded)]
    ray.init(
        "local", num_cpus=CONCURRENT, include_dashboard=False, object_store_memory=200 * 2**20, log_to_driver=False
    )
    tuner = tune.Tuner(
        tune.with_resources(plain_trial, {"cpu": 1}),
        param_space={"spec": tune.grid_search(specs), "folder": str(results)},
        tune_config=tune.TuneConfig(max_concurrent_trials=CONCURRENT),
        run_config=tune.RunConfig(storage_path=str(results / "tune"), verbose=0),
    )
    found = tuner.fit()
    assert not found.errors, found.errors
    print(json.dumps(sorted(result.metrics["perplexity"] for result in found)))
    ray.shutdown()


def plain_trial(config: dict[str, Any]) -> None:
    import torch
    from ray import tune

    from nmlab.trials.context.replica_context import ReplicaContext
    from nmlab.trials.contract.trial_spec import TrialSpec
    from nmlab.trials.models import FrozenModel
    from nmlab.trials.trial.run import run_trial

    class Quiet:
        def metrics(self, step, values): ...

        def cancelled(self):
            return False

    torch.set_num_threads(1)
    spec = TrialSpec.from_record(config["spec"])
    replica = ReplicaContext(FrozenModel.load(spec.model))
    result = run_trial(spec, replica=replica, folder=Path(config["folder"]) / spec.key, events=Quiet())
    assert result.status == "finished", result.reason
    tune.report({"perplexity": result.metrics["eval/perplexity"]})


def session(leader: int) -> list[int]:
    """Living processes of the session that a process leads."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, sid = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(sid) == leader and state != "Z":
            found.append(int(folder.name))
    return found


def proportional_bytes(pids: list[int]) -> tuple[int, int]:
    """Sum of the PSS (private pages, and of shared ones each process's part): of all, and of those that compute."""
    total = computing = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            command = Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:
            continue
        size = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
        total += size
        computing += size if command.startswith(COMPUTING) else 0
    return total, computing


def measured(command: list[str], *, folder: Path) -> dict[str, Any]:
    """Run a command in a session of its own to its end; return its wall seconds, peak memory, and output."""
    begun, over, highest = time.monotonic(), threading.Event(), [0, 0]
    with (folder / "out.txt").open("w") as out:
        process = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)

    def watch() -> None:
        while not over.wait(0.5):
            highest[:] = map(max, highest, proportional_bytes(session(process.pid)))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        code = process.wait()
        seconds = time.monotonic() - begun
    finally:
        over.set()
        thread.join()
        for pid in session(process.pid):
            os.kill(pid, signal.SIGKILL)
    text = (folder / "out.txt").read_text()
    assert code == 0, text[-3000:]
    return {"seconds": round(seconds, 1), "peak_bytes": highest[0], "computing_bytes": highest[1], "output": text}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="6 trials of a 5 M model")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--plain", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.plain:
        plain(*options.plain)
        return
    trials, millions = (6, 5) if options.small else (24, 25)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_model(folder / "model", millions=millions)
        study = folder / "study.yaml"
        study.write_text(json.dumps(study_of(folder, trials=trials, steps=options.steps)))
        os.sync()
        nmlab = [str(Path(sys.executable).with_name("nmlab")), "sweep", str(study), "--no-report", "--json"]
        ours = measured(nmlab, folder=folder)
        theirs = measured([sys.executable, __file__, "--plain", str(study), str(folder / "plain")], folder=folder)
    record = {
        "trials": trials,
        "millions": millions,
        "steps": options.steps,
        "nmlab": {name: ours[name] for name in ("seconds", "peak_bytes", "computing_bytes")},
        "plain": {name: theirs[name] for name in ("seconds", "peak_bytes", "computing_bytes")},
        "seconds_ratio": round(ours["seconds"] / theirs["seconds"], 3),
        "memory_ratio": round(ours["peak_bytes"] / theirs["peak_bytes"], 3),
        "computing_ratio": round(ours["computing_bytes"] / theirs["computing_bytes"], 3),
        "load": os.getloadavg(),
    }
    print(json.dumps(record, indent=2))
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()

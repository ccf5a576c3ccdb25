"""What a tiny trial costs on shared replicas, against one Ray TorchTrainer for every trial.

Both ways run the same trials (one evaluation of a random mask on the shipped model) with the same concurrency in one
Ray session. Blocks of the two ways alternate, and medians over blocks are compared. A sweep starts its replicas once;
their start is reported apart.

    python benchmarks/trial_overhead.py --concurrency 2 --json trial_overhead.json
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from nmlab.platform.cluster.session import cluster
from nmlab.platform.records.events import JournalRecord, TrialEnded

STUDY = """
name: overhead
model: {source: builtin:tiny}
data:
  calibration: {source: builtin:python-docs, samples: 8, sequence_length: 32, batch_size: 8}
  evaluation: {source: builtin:python-docs, sequence_length: 32, windows: 8}
pattern: "2:4"
method: random
baselines: []
search: {algorithm: grid}
"""


def study_of(seeds: range, concurrency: int) -> Any:
    """Return a grid of one configuration with many seeds, so that every trial is a new one."""
    from nmlab.search_spaces import loader

    overrides = [f"seeds={list(seeds)}", f"budget.max_concurrent={concurrency}", f"replica.count={concurrency}"]
    return loader.loads(STUDY, overrides=overrides)


class SharedReplicas:
    """nmlab's way: Train runs that stay, and trials that run in their slots."""

    def __init__(self, concurrency: int, folder: Path) -> None:
        from nmlab.platform.dispatch.dispatcher import start_dispatcher
        from nmlab.platform.dispatch.driver_loop import DriverLoop
        from nmlab.platform.planning.admission import Load
        from nmlab.platform.replicas.replica import start_replicas

        self._concurrency, self._folder = concurrency, folder
        self._ended: list[str] = []
        start = time.perf_counter()
        self._dispatcher = start_dispatcher("overhead", max_failures=0)
        self._driver_loop = DriverLoop(self._dispatcher, accept=self._accept, on_round=lambda: None, to_cancel=list)
        study, small = study_of(range(1), concurrency), Load(weights=0, block_weights=0, blocks=1, shared=0, slot=0)
        self._replicas = start_replicas(
            study, dispatcher=self._dispatcher.name, folder=folder, max_failures=0, load=small, lost=print
        )
        while len(self._driver_loop.received.replicas) < concurrency:
            time.sleep(0.1)
        self.startup = time.perf_counter() - start

    def block(self, seeds: range) -> float:
        """Run one trial a seed; return seconds a trial."""
        from nmlab.platform.planning.study_plan import plan_study
        from nmlab.platform.search.grid import GridStrategy
        from nmlab.platform.tuning.tune import TuneWatch, tune_trials

        plan = plan_study(study_of(seeds, self._concurrency))
        folder = self._folder / f"block-{seeds.start}"
        start = time.perf_counter()
        watch = TuneWatch(lambda: None, lambda key, error: print(f"trial actor of {key} lost: {error}", flush=True))
        tune_trials(
            plan,
            GridStrategy(plan.study),
            dispatcher=self._dispatcher.name,
            ended={},
            evaluated={},
            stopped_early=(),
            folder=folder,
            watch=watch,
        )
        seconds = time.perf_counter() - start
        self._expect(len(seeds))
        return seconds / len(seeds)

    def close(self) -> None:
        self._replicas.stop()
        self._driver_loop.stop_replicas()
        self._replicas.join(list(self._driver_loop.received.replicas), timeout=30)
        self._driver_loop.finish()

    def _accept(self, records: list[JournalRecord]) -> None:
        self._ended += [record.result["status"] for record in records if isinstance(record, TrialEnded)]

    def _expect(self, finished: int) -> None:
        ended, self._ended = self._ended, []
        assert ended == ["finished"] * finished, ended


class TrainerPerTrial:
    """The usual way: every trial starts a TorchTrainer, which loads the model."""

    def __init__(self, concurrency: int, folder: Path) -> None:
        self._concurrency, self._folder = concurrency, folder

    def block(self, seeds: range) -> float:
        """Run one trainer a seed, as many at a time as there are slots; return seconds a trial."""
        from nmlab.platform.planning.study_trials import trial_spec

        study = study_of(seeds, self._concurrency)
        specs = [trial_spec(study, {"method": "random", "pattern": "2:4"}, seed=seed) for seed in seeds]
        gate, errors = threading.Semaphore(self._concurrency), []
        threads = [threading.Thread(target=self._one, args=(spec, gate, errors)) for spec in specs]
        start = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start
        assert not errors, errors
        return seconds / len(seeds)

    def _one(self, spec: Any, gate: threading.Semaphore, errors: list[BaseException]) -> None:
        from ray.train import LoggingConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        config = {"spec": spec.model_dump(mode="json"), "folder": str(self._folder / spec.key)}
        with gate:
            try:
                TorchTrainer(
                    train_one,
                    train_loop_config=config,
                    scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
                    run_config=RunConfig(
                        name=f"own-{spec.key}",
                        storage_path=str(self._folder / "own"),
                        logging_config=LoggingConfig(log_level="ERROR"),
                    ),
                ).fit()
            except Exception as error:  # raised by block(), in the main thread
                errors.append(error)


def train_one(config: dict[str, Any]) -> None:
    """Load the model and run one trial; called in a Train worker for each trial."""
    import torch

    from nmlab.trials.context.replica_context import ReplicaContext
    from nmlab.trials.contract.trial_spec import TrialSpec
    from nmlab.trials.models import FrozenModel
    from nmlab.trials.trial.run import run_trial

    class Silence:
        def metrics(self, step: int, values: object) -> None: ...

        def cancelled(self) -> bool:
            return False

    torch.set_num_threads(1)
    spec = TrialSpec.from_record(config["spec"])
    replica = ReplicaContext(FrozenModel.load(spec.model))
    assert run_trial(spec, replica=replica, folder=Path(config["folder"]), events=Silence()).status == "finished"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--trials", type=int, default=24, help="trials of a block on shared replicas")
    parser.add_argument("--trainers", type=int, default=4, help="trials of a block with a trainer each")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    shared_seconds, own_seconds = [], []
    with tempfile.TemporaryDirectory() as name, cluster(cpus=2 * options.concurrency):
        shared = SharedReplicas(options.concurrency, Path(name))
        own = TrainerPerTrial(options.concurrency, Path(name))
        for block in range(options.blocks):
            first = block * 1000
            shared_seconds.append(shared.block(range(first, first + options.trials)))
            own_seconds.append(own.block(range(first, first + options.trainers)))
            print(f"block {block}: shared {shared_seconds[-1]:.2f} s, own trainer {own_seconds[-1]:.2f} s", flush=True)
        shared.close()
    ratio = statistics.median(own_seconds) / statistics.median(shared_seconds)
    record = {
        "concurrency": options.concurrency,
        "shared_seconds_per_trial": [round(value, 3) for value in shared_seconds],
        "own_trainer_seconds_per_trial": [round(value, 3) for value in own_seconds],
        "replicas_startup_seconds": round(shared.startup, 1),
        "ratio": round(ratio, 1),
        "claim": "at least 15 times cheaper, and at most 1 s a trial",
        "holds": ratio >= 15 and statistics.median(shared_seconds) <= 1.0,
    }
    print(json.dumps(record, indent=2))
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(not record["holds"])


if __name__ == "__main__":
    main()

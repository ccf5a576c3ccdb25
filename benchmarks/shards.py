"""What pipeline stages give: private memory of a worker by the number of stages, and two trials at once against one.

Memory: a random Llama-shaped checkpoint, W = 1, 2, 4 processes that hold a stage each and run one trial of MaskPro;
every process reads its private memory from the kernel. The weights are pages of one file that all processes share, so
what is private is the trial's: logits, masks, masked weights, activations. The claim: beyond a process that has only
imported torch and transformers, the largest of W workers has at most 1.25 / W of what a single one has; and it loads at
most 1.25 / W of the bytes of the decoder blocks.

Throughput: W = 2 processes of one thread each, rounds of one trial alone and of two at once, in turn. The claim: two
at once make at least 1.5 times the steps a second of one (medians over the rounds; wants two idle cores).

    python benchmarks/shards.py --megabytes 400 --rounds 5 --json shards.json
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from shared_weights import bare, measure, private_bytes, write_model

WIDTHS = (1, 2, 4)
SLACK, SPEED_UP = 1.25, 1.5


def pipelines_of(rank: int, size: int, port: int, *, slots: int) -> list[Any]:
    """Connect this process with the other stages; return one pipeline group for each slot."""
    from torch.distributed import TCPStore

    from nmlab.trials.parallel.distributed_group import DistributedGroup
    from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS

    if size == 1:
        return [SINGLE_PROCESS] * slots
    stores = [TCPStore("127.0.0.1", port, is_master=False) for _ in range(slots)]
    return [DistributedGroup(store, name=f"slot-{n}", rank=rank, size=size) for n, store in enumerate(stores)]


def started(replica: Any, pipeline: Any, *, seed: int, length: int, sequences: int) -> Any:
    """Start a trial of MaskPro with a practically unlimited number of steps."""
    from nmlab.trials.contract.pattern import Pattern
    from nmlab.trials.contract.sections import CalibrationSpec
    from nmlab.trials.methods import registry
    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.models import MaskedModel

    text = CalibrationSpec(
        source="builtin:python-docs", samples=2 * sequences, sequence_length=length, batch_size=sequences
    )
    model = MaskedModel(replica.frozen, pipeline=pipeline)
    context = TrialContext(replica=replica, model=model, pattern=Pattern(2, 4), calibration=text, seed=seed)
    method = registry.get("maskpro")
    return method.start(context, method.configure({"steps": 10**6})), model


def holder(model: str, rank: int, size: int, port: int, results: "Queue[dict[str, Any]]") -> None:
    """Run a worker with its stage and one trial, and measure its memory after three steps."""
    import torch

    from nmlab.trials.context.replica_context import ReplicaContext
    from nmlab.trials.measure.memory import release_memory
    from nmlab.trials.models import FrozenModel, ModelSource

    torch.set_num_threads(1)
    (pipeline,) = pipelines_of(rank, size, port, slots=1)
    replica = ReplicaContext(FrozenModel.load(ModelSource(source=model), pipeline=pipeline))
    run, view = started(replica, pipeline, seed=0, length=64, sequences=2)
    losses = [run.step(step)["train/loss"] for step in range(3)]
    release_memory()
    pipeline.all_gather(None)
    blocks = sum(p.numel() * p.element_size() for n, p in replica.frozen.module.named_parameters() if ".layers." in n)
    record = {"private": private_bytes(), "loaded": replica.frozen.bytes, "loaded_blocks": blocks}
    results.put({**record, "own": run.state_bytes + view.bytes, "losses": losses})
    pipeline.all_gather(None)


def racer(
    model: str, rank: int, size: int, port: int, rounds: int, steps: int, results: "Queue[dict[str, Any]]"
) -> None:
    """Run a worker with two slots, and measure one trial, then two at once, in every round."""
    import torch

    from nmlab.trials.context.replica_context import ReplicaContext
    from nmlab.trials.models import FrozenModel, ModelSource

    torch.set_num_threads(1)
    pipelines = pipelines_of(rank, size, port, slots=2)
    replica = ReplicaContext(FrozenModel.load(ModelSource(source=model), pipeline=pipelines[0]))
    runs = [
        started(replica, pipeline, seed=seed, length=128, sequences=4)[0] for seed, pipeline in enumerate(pipelines)
    ]
    done = [0, 0]

    def advance(slot: int) -> None:
        for _ in range(steps):
            runs[slot].step(done[slot])
            done[slot] += 1

    def timed(slots: int) -> float:
        pipelines[0].all_gather(None)
        start = time.perf_counter()
        threads = [threading.Thread(target=advance, args=(slot,)) for slot in range(slots)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        pipelines[0].all_gather(None)
        return slots * steps / (time.perf_counter() - start)

    timed(2)  # the first steps allocate memory
    speeds = [(timed(1), timed(2)) for _ in range(rounds)]
    if rank == 0:
        results.put({"one": [one for one, _ in speeds], "two": [two for _, two in speeds]})


def together(target: Any, model: str, size: int, *arguments: Any, answers: int) -> list[dict[str, Any]]:
    """Run ``target`` in ``size`` connected processes; return their results."""
    from torch.distributed import TCPStore

    context = multiprocessing.get_context("spawn")
    server, results = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False), context.Queue()
    processes = [
        context.Process(target=target, args=(model, rank, size, server.port, *arguments, results))
        for rank in range(size)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=900) for _ in range(answers)]
    for process in processes:
        process.join()
    return found


def memory(model: str) -> dict[str, Any]:
    """Measure the largest worker for each number of stages."""
    floor = statistics.median(entry["private"] for entry in measure(bare, [(), ()]))
    record: dict[str, Any] = {"bare_process_mb": round(floor / 1e6, 1), "shards": {}}
    for size in WIDTHS:
        workers = together(holder, model, size, answers=size)
        record["shards"][size] = {
            "private_beyond_bare_mb": round(max(worker["private"] for worker in workers) / 1e6 - floor / 1e6, 1),
            "trial_own_mb": round(max(worker["own"] for worker in workers) / 1e6, 1),
            "loaded_mb": round(max(worker["loaded"] for worker in workers) / 1e6, 1),
            "loaded_blocks_mb": round(max(worker["loaded_blocks"] for worker in workers) / 1e6, 1),
        }
        record["losses"] = record.get("losses", workers[0]["losses"])
        assert all(worker["losses"] == record["losses"] for worker in workers), "the losses depend on the stages"
    one = record["shards"][1]
    for size, entry in record["shards"].items():
        names = ("private_beyond_bare_mb", "trial_own_mb", "loaded_blocks_mb")
        entry["of_one"] = {name: round(entry[name] / one[name], 3) for name in names}
        entry["holds"] = all(ratio <= SLACK / size or size == 1 for ratio in entry["of_one"].values())
    record["holds"] = all(entry["holds"] for entry in record["shards"].values())
    return record


def throughput(model: str, *, rounds: int, steps: int) -> dict[str, Any]:
    """Measure one trial alone against two at once."""
    (speeds,) = together(racer, model, 2, rounds, steps, answers=1)
    ratio = statistics.median(two / one for one, two in zip(speeds["one"], speeds["two"], strict=True))
    shown = {name: [round(speed, 3) for speed in values] for name, values in speeds.items()}
    return {"steps_a_second": shown, "ratio": round(ratio, 3), "claim": SPEED_UP, "holds": ratio >= SPEED_UP}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400, help="of weights in the decoder blocks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="steps of a trial in a round")
    parser.add_argument("--part", choices=("memory", "throughput"), help="one of the two alone")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), megabytes=options.megabytes)
        os.sync()  # a page that waits to be written would be counted as a private one
        record: dict[str, Any] = {"load_before": os.getloadavg()[0]}
        if options.part != "throughput":
            record["memory"] = memory(folder)
        if options.part != "memory":
            record["throughput"] = throughput(folder, rounds=options.rounds, steps=options.steps)
    record["holds"] = all(part["holds"] for part in record.values() if isinstance(part, dict))
    print(json.dumps(record, indent=2))
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(not record["holds"])


if __name__ == "__main__":
    main()

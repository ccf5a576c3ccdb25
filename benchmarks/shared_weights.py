"""What one more trial process costs in private memory when the model is large.

Writes a random Llama-shaped checkpoint (500 MB by default), starts several processes that each load it, hold a trial
of MaskPro at work, and wait for each other; then every process reads its own private memory from the kernel. The
claim: beyond a process that has only imported torch and transformers, and beyond what the trial itself holds (logits,
masks, its masked weights), a process adds at most 50 MB, because the frozen weights are pages of one file that all of
them share.

    python benchmarks/shared_weights.py --processes 3 --megabytes 500 --json shared_weights.json
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path


def private_bytes() -> int:
    """Bytes of this process that no other process shares."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


def write_model(folder: Path, *, megabytes: int) -> None:
    """Write a float32 checkpoint of about ``megabytes`` with the tokenizer of the shipped model."""
    import shutil

    from transformers import LlamaConfig, LlamaForCausalLM

    from nmlab.trials.models.sources import BUILTIN

    width = 1024
    block_bytes = 4 * (4 * width * width + 3 * width * 2816)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=width,
        intermediate_size=2816,
        num_attention_heads=16,
        num_hidden_layers=max(1, round(megabytes * 1e6 / block_bytes)),
    )
    LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="10GB")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(BUILTIN["builtin:tiny"] / name, folder / name)


def bare(barrier: Barrier, results: "Queue[dict[str, int]]") -> None:
    """A process that has imported what every trial process imports, and nothing more."""
    import torch

    torch.set_num_threads(1)
    torch.randn(64, 64) @ torch.randn(64, 64)
    barrier.wait()
    results.put({"private": private_bytes()})
    barrier.wait()


def trial_process(model: str, seed: int, barrier: Barrier, results: "Queue[dict[str, int]]") -> None:
    """A process with the frozen model and one trial of MaskPro that has made two steps."""
    import torch

    from nmlab.trials.context.replica_context import ReplicaContext
    from nmlab.trials.contract.pattern import Pattern
    from nmlab.trials.contract.sections import CalibrationSpec
    from nmlab.trials.measure.memory import release_memory
    from nmlab.trials.methods import registry
    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.models import FrozenModel, MaskedModel, ModelSource

    torch.set_num_threads(1)
    replica = ReplicaContext(FrozenModel.load(ModelSource(source=model)))
    calibration = CalibrationSpec(source="builtin:python-docs", samples=2, sequence_length=32, batch_size=1)
    view = MaskedModel(replica.frozen)
    context = TrialContext(replica=replica, model=view, pattern=Pattern(2, 4), calibration=calibration, seed=seed)
    method = registry.get("maskpro")
    run = method.start(context, method.configure({"steps": 2}))
    for step in range(2):
        run.step(step)
    replica.frozen.unchanged()  # reads every page, as a replica does at its end
    release_memory()  # as a trial does after its start
    barrier.wait()
    results.put({"private": private_bytes(), "own": run.state_bytes + view.bytes, "model": replica.frozen.bytes})
    barrier.wait()


def measure(target: object, arguments: list[tuple[object, ...]]) -> list[dict[str, int]]:
    """Run one process for each tuple of arguments, all alive while each measures itself."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(len(arguments)), context.Queue()
    processes = [context.Process(target=target, args=(*given, barrier, results)) for given in arguments]  # type: ignore[arg-type]
    for process in processes:
        process.start()
    measured = [results.get(timeout=600) for _ in processes]
    for process in processes:
        process.join()
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), megabytes=options.megabytes)
        os.sync()  # a page that waits to be written would be counted as a private one
        floor = measure(bare, [() for _ in range(options.processes)])
        loaded = measure(trial_process, [(folder, seed) for seed in range(options.processes)])
    base = statistics.median(entry["private"] for entry in floor)
    extra = [entry["private"] - base - entry["own"] for entry in loaded]
    record = {
        "processes": options.processes,
        "model_mb": loaded[0]["model"] / 1e6,
        "bare_process_mb": base / 1e6,
        "trial_own_mb": loaded[0]["own"] / 1e6,
        "private_mb": [round(entry["private"] / 1e6, 1) for entry in loaded],
        "extra_mb": [round(value / 1e6, 1) for value in extra],
        "extra_over_model": round(statistics.median(extra) / loaded[0]["model"], 4),
        "claim_mb": 50,
        "holds": max(extra) <= 50e6,
    }
    print(json.dumps(record, indent=2))
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(not record["holds"])


if __name__ == "__main__":
    main()

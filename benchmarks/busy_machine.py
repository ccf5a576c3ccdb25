"""How much a trial of several threads is slowed by other work on its machine, with waiting threads that sleep or spin.

Processes that do nothing but compute run beside steps of MaskPro on the tiny model. Threads sleep, as nmlab sets it, or
spin, as is OpenMP's default (3 ms, as GOMP_SPINCOUNT). Both take turns, each in a process of its own,
which yields to others as Ray's workers do.

    python benchmarks/busy_machine.py --threads 2 --beside 0 1 2 --json busy_machine.json
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WAYS = {"asleep": {"OMP_WAIT_POLICY": "PASSIVE"}, "spinning": {"GOMP_SPINCOUNT": "300000"}}
NICENESS = 15  # of Ray's workers
LEAST_GAINS = {0: 1 / 1.1, 1: 2.0}  # by busy processes: how many times faster asleep than spinning


def mean_step(steps: int, threads: int) -> float:
    """Return the seconds of a step of MaskPro on the tiny model, in this process."""
    import torch

    from nmlab.trials.context.replica_context import ReplicaContext
    from nmlab.trials.contract.pattern import Pattern
    from nmlab.trials.contract.sections import CalibrationSpec
    from nmlab.trials.methods import registry
    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.models import FrozenModel, MaskedModel, ModelSource

    os.nice(NICENESS)
    torch.set_num_threads(threads)
    replica = ReplicaContext(FrozenModel.load(ModelSource(source="builtin:tiny")))
    calibration = CalibrationSpec(source="builtin:python-docs", samples=32, sequence_length=128, batch_size=16)
    view = MaskedModel(replica.frozen)
    context = TrialContext(replica=replica, model=view, pattern=Pattern(2, 4), calibration=calibration, seed=0)
    method = registry.get("maskpro")
    run = method.start(context, method.configure({"steps": steps + 5}))
    for step in range(5):
        run.step(step)
    began = time.perf_counter()
    for step in range(5, steps + 5):
        run.step(step)
    return (time.perf_counter() - began) / steps


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep so many processes computing for as long as the context lasts."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measured(way: str, *, steps: int, threads: int) -> float:
    """Return the seconds of a step in a process that waits in one way or the other."""
    unset = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
    environment = {name: value for name, value in os.environ.items() if name not in unset} | WAYS[way]
    command = [sys.executable, __file__, "--child", "--steps", str(steps), "--threads", str(threads)]
    return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--beside", type=int, nargs="+", default=[0, 1, 2], help="busy processes")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.child:
        print(mean_step(options.steps, options.threads))
        return
    rows = {}
    for beside in options.beside:
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        with busy(beside):
            for _ in range(options.rounds):
                for way, found in times.items():
                    found.append(measured(way, steps=options.steps, threads=options.threads))
        medians = {way: statistics.median(found) for way, found in times.items()}
        milliseconds = {way: [round(1000 * value, 1) for value in found] for way, found in times.items()}
        rows[beside] = {"milliseconds": milliseconds, "gain": round(medians["spinning"] / medians["asleep"], 2)}
        print(f"{beside} beside: {rows[beside]}", flush=True)
    checked = [rows[beside]["gain"] >= least for beside, least in LEAST_GAINS.items() if beside in rows]
    holds = bool(checked) and all(checked)
    record = {"threads": options.threads, "load": os.getloadavg(), "rows": rows, "claim": LEAST_GAINS, "holds": holds}
    print(json.dumps(record, indent=2))
    if options.json:
        options.json.write_text(json.dumps(record, indent=2) + "\n")
    sys.exit(not holds)


if __name__ == "__main__":
    main()

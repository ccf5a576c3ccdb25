"""A script with a Ray of its own: it sweeps on it, is interrupted, resumes launches there and goes on using it.

    python script_on_own_ray.py STUDY LAUNCH FOUND

STUDY is a study in JSON and LAUNCH a launch in `results` that is not over; it is resumed and extended. What the script
found is written to FOUND, for the tests that ask about it (`scripted.py`). Ray's workers are forked.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from forked_workers import fork_workers, run_worker

import nmlab

nmlab.load_model("builtin:tiny")  # the workers' imports, but for those of Ray
if (worker := fork_workers()) is not None:
    run_worker(worker)
    sys.exit()
import ray  # noqa: E402 - reads whose process it is

STORE = "sqlite:///nmlab.db"
TOO_LONG = "data.evaluation.sequence_length=100000"
TOO_LARGE = "replica.slots=1000000"
MORE = ("seeds=[0, 1, 2]", "space.alpha={grid: [0.9, 0.95, 0.99]}")


def of_process():
    """Return the signal handlers of this process, and Ray's part of its environment."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    return handlers, {name: value for name, value in os.environ.items() if name.startswith(("RAY_", "TUNE_"))}


def interrupt_once_it_learns(study):
    """Send Ctrl-C to this process once the journal has a step of a trial."""

    def learns():
        for path in Path("results", study).glob("*/journal.jsonl"):
            records = (json.loads(line) for line in path.read_text().splitlines() if line.endswith("}"))
            if any(record["event"] == "metrics" and record["step"] > 5 for record in records):
                return True
        return False

    while not learns():
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)


def interrupted(study):
    """Sweep a study until Ctrl-C; return how that ended."""
    threading.Thread(target=interrupt_once_it_learns, args=(study.name,), daemon=True).start()
    try:
        nmlab.sweep(study, progress=False)
    except KeyboardInterrupt as stopped:
        return stopped
    raise AssertionError("the sweep was not interrupted")


def refused(study, **arguments):
    """Return what is said of a sweep that cannot be."""
    try:
        nmlab.sweep(study, progress=False, **arguments)
    except ValueError as error:
        return str(error)
    raise AssertionError("the sweep was not refused")


@ray.remote(num_cpus=1)
def in_a_task(study, launch):
    """Start a launch that does not fit, and resume and extend another."""
    said = refused(study, overrides=[TOO_LARGE])
    result = nmlab.resume(launch, tracking_uri=STORE, progress=False, report=False)
    extended = nmlab.extend(launch, overrides=MORE, tracking_uri=STORE, progress=False, report=False)
    return {"refused": said, **ending(result), "extended": ending(extended)}


def ending(result):
    """Return what is said of a launch that ended."""
    named = ("launch", "status", "counts", "is_success", "model_loads", "frozen_weights", "undelivered")
    return {name: getattr(result, name) for name in named} | {"headline": list(result.headline)}


def main(study, launch, found):
    """Do all of it, and write what was found."""
    study = nmlab.load_study(json.loads(study))
    ray.init(
        "local", num_cpus=3, include_dashboard=False, log_to_driver=False, object_store_memory=10**8, namespace="mine"
    )
    before = of_process()
    stopped = interrupted(study)
    result = stopped.result
    answers = {
        "stopped": {
            "type": type(stopped) is nmlab.SweepInterrupted,
            "text": str(stopped),
            "interrupted": result.interrupted,
            "checkpoints": len(list(result.folder.glob("trials/*/checkpoint-*"))),
            **ending(result),
        },
        "refused": [refused(study, address="local"), refused(study, overrides=[TOO_LONG])],
        "in a task": ray.get(in_a_task.remote(study, launch)),
    }
    resumed = nmlab.resume(result)
    answers["resumed"] = {**ending(resumed), "page": str(resumed.page)}
    answers["process"] = {
        "is as it was": of_process() == before,
        "goes on": ray.is_initialized() and ray.get(ray.remote(lambda: 7).remote()),
    }
    ray.shutdown()
    answers["resumed again"] = ending(nmlab.resume(result, progress=False, report=False))
    answers["process"]["starts Ray for nothing"] = ray.is_initialized()
    Path(found).write_text(json.dumps(answers))


if __name__ == "__main__":
    main(*sys.argv[1:])

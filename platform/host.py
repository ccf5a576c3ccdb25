"""What runs inside a replica's Train worker: the frozen model once, and S slots that run trials on it."""

import os
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import torch

from nmlab.platform.hub import HUB
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.spec import TrialSpec
from nmlab.trials.trial import TrialResult, run_trial
from nmlab.trials.workbench import Workbench

_FLUSH_S = 0.5
_HEARTBEAT_S = 1.0


def host_loop(config: dict[str, Any]) -> None:
    """Load the model, register with the hub, and run trials until the hub says stop (the Train worker's function)."""
    torch.set_num_threads(config["threads"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    start = time.perf_counter()
    frozen = FrozenModel.load(ModelSource(**config["model"]), device=device)
    bench = Workbench(frozen, initial_masks=Path(config["initial_masks"]))
    facts = {
        "pid": os.getpid(),
        "node": ray.util.get_node_ip_address(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "slots": config["slots"],
        "model_digest": bench.frozen.digest,
        "model_bytes": bench.frozen.bytes,
        "load_seconds": round(time.perf_counter() - start, 3),
    }
    Host(config, bench, facts).serve()


class GivenUpError(RuntimeError):
    """The hub took this replica for dead, because it was stopped or starved of time. To return, it must start anew."""


class Host:
    """The threads of one replica."""

    def __init__(self, config: dict[str, Any], bench: Workbench, facts: dict[str, Any]) -> None:
        self._name: str = config["name"]
        self._folder = Path(config["folder"])
        self._bench, self._facts = bench, facts
        self._incarnation = f"{os.getpid()}-{time.time_ns()}"
        self._hub = ray.get_actor(HUB, namespace=config["namespace"])
        self._stop = threading.Event()
        self.cancelled: set[str] = set()

    def serve(self) -> None:
        """Serve until told to stop, then say whether the weights are unchanged."""
        self.tell("register", self._name, self._incarnation, self._facts)
        slots = [threading.Thread(target=self._slot, daemon=True) for _ in range(self._facts["slots"])]
        for slot in slots:
            slot.start()
        while not ray.get(self._hub.stopping.remote()):
            cancelled = self.tell("heartbeat", self._name, self._incarnation)
            if cancelled is None:
                self._stop.set()  # what its slots still run, runs elsewhere by now
                raise GivenUpError(f"{self._name} was silent for too long and was given up; Train starts it again")
            self.cancelled |= set(cancelled)
            self._stop.wait(_HEARTBEAT_S)
        self._stop.set()
        for slot in slots:
            slot.join()
        self.tell("verified", self._name, self._bench.frozen.unchanged())
        self.tell("leave", self._name, self._incarnation)

    def tell(self, name: str, *args: Any) -> Any:
        """Call the hub and wait for its answer."""
        return ray.get(self._hub.call.remote(name, *args))

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def _slot(self) -> None:
        while not self._stop.is_set():
            job = ray.get(self._hub.take.remote(self._name, self._incarnation, 1.0))
            if job is not None:
                self.cancelled.discard(job["key"])
                self._run(job)

    def _run(self, job: dict[str, Any]) -> None:
        events = _HubEvents(self, job["key"], job["epoch"])
        try:
            spec = TrialSpec.model_validate(job["spec"])
            result = run_trial(spec, bench=self._bench, folder=self._folder / job["key"], events=events)
        except Exception as error:  # a slot outlives whatever goes wrong in a trial; the reason travels to the driver
            reason = f"{type(error).__name__}: {error}"
            (self._folder / job["key"]).mkdir(parents=True, exist_ok=True)
            (self._folder / job["key"] / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            result = TrialResult(job["key"], "failed", 0, {}, reason)
        events.flush()
        metrics = {**events.last, **result.metrics}  # a search may aim at a metric of training, such as train/loss
        self.tell("finish", job["key"], job["epoch"], {**asdict(result), "metrics": metrics})


class _HubEvents:
    """A trial's events, sent to the hub in batches."""

    def __init__(self, host: Host, key: str, epoch: int) -> None:
        self._host, self._key, self._epoch = host, key, epoch
        self._points: list[dict[str, Any]] = []
        self._sent = time.monotonic()
        self._go_on = True
        self.last: dict[str, float] = {}

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.last = dict(values)
        self._points.append({"step": step, "time": int(time.time() * 1000), "values": dict(values)})
        evaluated = any(name.startswith("eval/") for name in values)
        if evaluated or time.monotonic() - self._sent > _FLUSH_S:
            self.flush()

    def cancelled(self) -> bool:
        return not self._go_on or self._key in self._host.cancelled or self._host.stopping

    def flush(self) -> None:
        points, self._points = self._points, []
        self._sent = time.monotonic()
        self._go_on = self._host.tell("push", self._key, self._epoch, points) and self._go_on

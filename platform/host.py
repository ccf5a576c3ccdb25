"""What runs inside a replica's Train worker: the frozen model once, and S slots that run trials on it."""

import os
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import torch

from nmlab.platform.host_link import HubLink, own_hub_link
from nmlab.platform.hub_client import HubClient
from nmlab.platform.killed import at_work
from nmlab.platform.planning.admission import Load, refuses
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.spec import TrialSpec
from nmlab.trials.trial import TrialResult, run_trial
from nmlab.trials.workbench import Workbench

_BEAT_S = 0.5
_FAREWELL_S = 20.0


def host_loop(config: dict[str, Any]) -> None:
    """Load the model and run trials until the hub says stop (the Train worker's function)."""
    torch.set_num_threads(config["threads"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if refusal := refuses(Load(**config["load"]), slots=config["slots"], device=device.type):
        hub = HubClient(config["hub"], namespace=config["namespace"])
        hub.call("refuse", config["name"], f"{config['name']} on {_where(device)}: {refusal}")
        return
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


def _where(device: torch.device) -> str:
    node = ray.util.get_node_ip_address()
    return f"{torch.cuda.get_device_name(device)} of {node}" if device.type == "cuda" else str(node)


class Host:
    """The threads of one replica: one that talks to the hub, and one for each slot."""

    def __init__(self, config: dict[str, Any], bench: Workbench, facts: dict[str, Any]) -> None:
        self._folder = Path(config["folder"])
        self._bench, self._slots = bench, int(facts["slots"])
        self._link = own_hub_link(config["hub"], namespace=config["namespace"], name=config["name"], facts=facts)

    def serve(self) -> None:
        """Serve until told to stop, then say whether the weights are unchanged; raises ``GivenUpError``."""
        link = self._link
        link.exchange()
        slots = [threading.Thread(target=self._slot, args=(slot,), daemon=True) for slot in range(self._slots)]
        for slot in slots:
            slot.start()
        while not link.stopping or any(slot.is_alive() for slot in slots):
            link.exchange()
            link.wait_for_news(_BEAT_S)
        link.say("verified", unchanged=self._bench.frozen.unchanged())
        link.farewell(patience=_FAREWELL_S)

    def _slot(self, slot: int) -> None:
        done = 0
        while not self._link.stopping:
            job = self._link.take(slot, done, within=1.0)
            if job is not None:
                self._run(job)
                done = job["epoch"]

    def _run(self, job: dict[str, Any]) -> None:
        events = _HubEvents(self._link, job["epoch"])
        try:
            spec = TrialSpec.model_validate(job["spec"])
            folder = self._folder / job["key"]
            with at_work(folder) as killed:
                because = f"{killed} with micro-batches of {spec.calibration.batch_size}" if killed else ""
                result = run_trial(spec, bench=self._bench, folder=folder, events=events, smaller_because=because)
        except Exception as error:  # a slot outlives whatever goes wrong in a trial; the reason travels to the driver
            reason = f"{type(error).__name__}: {error}"
            with suppress(OSError):  # the reason is told anyway
                (self._folder / job["key"]).mkdir(parents=True, exist_ok=True)
                (self._folder / job["key"] / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            result = TrialResult(job["key"], "failed", 0, {}, reason)
        metrics = {**events.last, **result.metrics}  # a search may aim at a metric of training, such as train/loss
        self._link.end(job["epoch"], {**asdict(result), "metrics": metrics})


class _HubEvents:
    """A trial's events, on their way to the hub."""

    def __init__(self, link: HubLink, epoch: int) -> None:
        self._link, self._epoch = link, epoch
        self.last: dict[str, float] = {}

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.last = dict(values)
        self._link.say("metrics", epoch=self._epoch, step=step, time=int(time.time() * 1000), values=self.last)

    def cancelled(self) -> bool:
        return self._link.is_unwanted(self._epoch)

"""What runs inside a replica's Train worker: the frozen model once, and S slots that run trials on it."""

import os
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
import torch

from nmlab.platform.host_link import HubLink, own_hub_link
from nmlab.platform.hub_client import HubClient
from nmlab.platform.killed import at_work
from nmlab.platform.launches.proof import prove
from nmlab.platform.party_line import PartyLine
from nmlab.platform.planning.admission import Load, refuses
from nmlab.platform.shards import OVER, follow, form_crews, give_work, shard_facts
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.crew import Crew
from nmlab.trials.errors import CrewLostError, account_of
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.outcome import TrialResult
from nmlab.trials.spec import TrialSpec
from nmlab.trials.trial import run_trial
from nmlab.trials.workbench import Workbench

_BEAT_S = 0.5
_FAREWELL_S = 20.0


def host_loop(config: dict[str, Any]) -> None:
    """Load the model and run trials until the hub says stop (the Train worker's function).

    Of several workers, each with a shard of the model, the first does so; the others follow it.
    """
    os.umask(os.umask(0) | 0o002)  # a raylet may have been started with any
    torch.set_num_threads(config["threads"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    crews = form_crews(slots=config["slots"], device=device)
    proofs = crews[0].everyone(_proof(config)) if config["nonce"] is not None else []
    if proofs and _is_refused(config, proofs, crew=crews[0]):
        return
    if refusals := _refusals(config, device=device, crew=crews[0]):
        if crews[0].leads:
            hub = HubClient(config["hub"], namespace=config["namespace"])
            hub.call("refuse", config["name"], f"{config['name']} on {refusals[0]}")
        return
    start = time.perf_counter()
    frozen = FrozenModel.load(ModelSource(**config["model"]), device=device, crew=crews[0])
    bench = Workbench(frozen, initial_masks=Path(config["initial_masks"]))
    facts = {
        "pid": os.getpid(),
        "node": ray.util.get_node_ip_address(),
        "node_id": ray.get_runtime_context().get_node_id(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "slots": config["slots"],
        "model_digest": bench.frozen.digest,
        **shard_facts(bench, crews[0], pid=os.getpid()),
        "load_seconds": round(time.perf_counter() - start, 3),
    }
    facts["proofs"] = proofs
    if crews[0].leads:
        Host(config, bench, facts, crews).serve()
    else:
        follow(crews, bench=bench, folder=Path(config["folder"]))


def _proof(config: dict[str, Any]) -> dict[str, Any]:
    """Return what this worker shows of the launch's folder and its code, and where it is."""
    where = {"node": ray.util.get_node_ip_address(), "node_id": ray.get_runtime_context().get_node_id()}
    return {**prove(Path(config["nonce"])), **where}


def _is_refused(config: dict[str, Any], proofs: list[dict[str, Any]], *, crew: Crew) -> bool:
    """Show the hub the proofs of all workers, before the model is loaded; say whether they were refused."""
    refused = False
    if crew.leads:
        hub = HubClient(config["hub"], namespace=config["namespace"])
        refused = bool(hub.call("admit", config["name"], proofs))
    return bool(crew.tell(refused))


def _refusals(config: dict[str, Any], *, device: torch.device, crew: Crew) -> list[str]:
    """Return of every worker on which the model and its slots do not fit where it is and why."""
    why = refuses(Load(**config["load"]), slots=config["slots"], shards=crew.size, device=device.type)
    return [each for each in crew.everyone(f"{_where(device)}: {why}" if why else "") if each]


def _where(device: torch.device) -> str:
    node = ray.util.get_node_ip_address()
    return f"{torch.cuda.get_device_name(device)} of {node}" if device.type == "cuda" else str(node)


class Host:
    """The threads of one replica: one that talks to the hub, and one for each slot."""

    def __init__(self, config: dict[str, Any], bench: Workbench, facts: dict[str, Any], crews: Sequence[Crew]) -> None:
        self._folder = Path(config["folder"])
        self._bench, self._crews = bench, crews
        self._broken: Exception | None = None
        self._link = own_hub_link(config["hub"], namespace=config["namespace"], name=config["name"], facts=facts)
        self._parties = PartyLine(config["parties"], bench=bench, folder=self._folder, link=self._link)

    def serve(self) -> None:
        """Serve until told to stop, then say whether the weights are unchanged; raises ``GivenUpError``.

        Raises ``CrewLostError`` when the shards have lost each other: Train then starts all anew.
        """
        link = self._link
        link.exchange()
        slots = [threading.Thread(target=self._slot, args=each, daemon=True) for each in enumerate(self._crews)]
        for slot in slots:
            slot.start()
        while not link.stopping or any(slot.is_alive() for slot in slots):
            link.exchange()
            if self._broken is not None:
                raise self._broken
            link.wait_for_news(_BEAT_S)
        link.say("verified", unchanged=all(self._crews[0].everyone(self._bench.frozen.unchanged())))
        link.farewell(patience=_FAREWELL_S)

    def _slot(self, slot: int, crew: Crew) -> None:
        done = 0
        try:
            while not self._link.stopping:
                job = self._link.take(slot, done, within=1.0)
                if job is not None:
                    self._run(job, crew)
                    done = job["epoch"]
                elif (offer := self._parties.offer()) is not None:
                    self._parties.take_part(offer, crew)
                else:
                    give_work(crew, None)
            give_work(crew, OVER)
        except CrewLostError as error:
            self._broken = error

    def _run(self, job: dict[str, Any], crew: Crew) -> None:
        events = _HubEvents(self._link, job["epoch"])
        try:
            spec = TrialSpec.model_validate(job["spec"])
            folder = self._folder / job["key"]
            with at_work(folder) as killed, self._parties.led(job, crew) as party:
                give_work(crew, {**job, "is_shared": party is not None})
                because = f"{killed} with micro-batches of {spec.calibration.at_once}" if killed else ""
                result = run_trial(
                    spec,
                    bench=self._bench,
                    folder=folder,
                    events=events,
                    crew=crew,
                    party=party,
                    smaller_because=because,
                )
        except CrewLostError:
            raise
        except Exception as error:  # a slot outlives whatever goes wrong in a trial; the reason travels to the driver
            reason = f"{type(error).__name__}: {error}"
            with suppress(OSError):  # the reason is told anyway
                (self._folder / job["key"]).mkdir(parents=True, exist_ok=True)
                (self._folder / job["key"] / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            account = account_of(error)
            result = TrialResult(job["key"], TrialStatus.FAILED, account.step, account.metrics, reason)
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

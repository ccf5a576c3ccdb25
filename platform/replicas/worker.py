"""The process of a Train worker: it loads the frozen model once, and S slots run trials on it."""

import os
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import ray
import torch

from nmlab.platform.cluster.proof import prove
from nmlab.platform.dispatch.actor_calls import ActorLostError
from nmlab.platform.dispatch.client import DispatchClient
from nmlab.platform.dispatch.messages import Lease
from nmlab.platform.dispatch.worker_link import WorkerLink, own_worker_link
from nmlab.platform.mask_parallel.shared_trials import SharedTrials
from nmlab.platform.pipeline.setup import NO_MORE_WORK, Work, follow, form_pipelines, give_work, stage_facts
from nmlab.platform.planning.admission import Load, why_worker_does_not_fit
from nmlab.platform.records.events import WeightsChecked
from nmlab.platform.records.payloads import Proof, ReplicaFacts, result_record
from nmlab.platform.replicas.oom_detection import marked_as_worked_on
from nmlab.platform.replicas.train_run import WorkerConfig
from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import PipelineLostError, account_of
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.measure.memory import exempt_from_gc
from nmlab.trials.models import FrozenModel, ModelSource
from nmlab.trials.parallel.pipeline_group import PipelineGroup
from nmlab.trials.trial.outcome import TrialResult
from nmlab.trials.trial.run import run_trial

_HEARTBEAT_SECONDS = 0.5
"""Pause between two exchanges with the dispatcher if nothing is urgent."""
_LAST_MESSAGES_SECONDS = 20.0
"""How long a replica that ends waits until the driver has its messages."""


def worker_loop(config: WorkerConfig) -> None:
    """Load the model and run trials until the dispatcher stops the replica; Train calls this in each worker.

    With pipeline stages, the first worker takes trials from the dispatcher, and the others run them with it.
    """
    os.umask(os.umask(0) | 0o002)  # the umask of a raylet may be any
    torch.set_num_threads(config["threads"])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pipelines = form_pipelines(slots=config["slots"], device=device)
    nonce = config["nonce"]
    proofs = [] if nonce is None else pipelines[0].all_gather(_proof(nonce))
    if proofs and _is_refused(config, proofs, pipeline=pipelines[0]):
        return
    if refusals := _refusals(config, device=device, pipeline=pipelines[0]):
        if pipelines[0].leads:
            dispatcher = DispatchClient(config["dispatcher"], namespace=config["namespace"])
            dispatcher.refuse(config["name"], reason=f"{config['name']} on {refusals[0]}")
        return
    start = time.perf_counter()
    frozen = FrozenModel.load(ModelSource.from_record(config["model"]), device=device, pipeline=pipelines[0])
    replica = ReplicaContext(frozen, initial_masks=Path(config["initial_masks"]))
    stages = stage_facts(replica, pipelines[0], pid=os.getpid())
    facts: ReplicaFacts = {
        "pid": os.getpid(),
        "node": ray.util.get_node_ip_address(),
        "node_id": ray.get_runtime_context().get_node_id(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "slots": config["slots"],
        "model_digest": replica.frozen.digest,
        "shards": stages,
        "model_bytes": sum(stage["bytes"] for stage in stages),
        "load_seconds": round(time.perf_counter() - start, 3),
        "proofs": proofs,
    }
    exempt_from_gc()
    if pipelines[0].leads:
        Worker(config, replica=replica, facts=facts, pipelines=pipelines).serve()
    else:
        follow(pipelines, replica=replica, folder=Path(config["folder"]))


def _proof(nonce: str) -> Proof:
    """Return the proof that this worker sees the launch's folder and runs the driver's code, with its node."""
    proof = prove(Path(nonce))
    proof["node"], proof["node_id"] = ray.util.get_node_ip_address(), ray.get_runtime_context().get_node_id()
    return proof


def _is_refused(config: WorkerConfig, proofs: list[Proof], *, pipeline: PipelineGroup) -> bool:
    """Show the dispatcher the proofs of all workers before the model is loaded; return whether they were refused."""
    refused = False
    if pipeline.leads:
        dispatcher = DispatchClient(config["dispatcher"], namespace=config["namespace"])
        refused = bool(dispatcher.admit(config["name"], proofs=proofs))
    return bool(pipeline.broadcast(refused))


def _refusals(config: WorkerConfig, *, device: torch.device, pipeline: PipelineGroup) -> list[str]:
    """Return one line, device and reason, for every worker on which the model and its slots do not fit."""
    load, slots = Load(**config["load"]), config["slots"]
    why = why_worker_does_not_fit(load, slots=slots, stages=pipeline.size, device=device.type)
    return [each for each in pipeline.all_gather(f"{_where(device)}: {why}" if why else "") if each]


def _where(device: torch.device) -> str:
    node = ray.util.get_node_ip_address()
    return f"{torch.cuda.get_device_name(device)} of {node}" if device.type == "cuda" else str(node)


class Worker:
    """The threads of one replica: one that talks to the dispatcher, and one for each slot."""

    def __init__(
        self,
        config: WorkerConfig,
        *,
        replica: ReplicaContext,
        facts: ReplicaFacts,
        pipelines: Sequence[PipelineGroup],
    ) -> None:
        self._folder = Path(config["folder"])
        self._replica, self._pipelines = replica, pipelines
        self._broken: Exception | None = None
        self._link = own_worker_link(
            config["dispatcher"], namespace=config["namespace"], name=config["name"], facts=facts
        )
        self._shared_trials = SharedTrials(
            config["mask_parallel"], replica=replica, folder=self._folder, link=self._link
        )

    def serve(self) -> None:
        """Run trials until the dispatcher stops the replica, then report whether the weights are unchanged.

        Raises ``GivenUpError`` if the dispatcher gave the replica up, and ``PipelineLostError`` if its stages have lost
        each other: Train then starts all its workers again.
        """
        link = self._link
        link.exchange()
        slots = [threading.Thread(target=self._slot, args=each, daemon=True) for each in enumerate(self._pipelines)]
        for slot in slots:
            slot.start()
        while not link.stopping or any(slot.is_alive() for slot in slots):
            link.exchange()
            if self._broken is not None:
                raise self._broken
            link.wait_for_notice(_HEARTBEAT_SECONDS)
        unchanged = all(self._pipelines[0].all_gather(self._replica.frozen.unchanged()))
        link.enqueue(WeightsChecked(unchanged=unchanged, host=link.name))
        link.close(patience=_LAST_MESSAGES_SECONDS)

    def _slot(self, slot: int, pipeline: PipelineGroup) -> None:
        last_epoch = 0
        try:
            while not self._link.stopping:
                lease = self._link.take(slot, last_epoch, within=1.0)
                if lease is not None:
                    self._run(lease, pipeline)
                    last_epoch = lease.epoch
                elif (offer := self._shared_trials.offer()) is not None:
                    self._shared_trials.follow(offer, pipeline)
                else:
                    give_work(pipeline, None)
            give_work(pipeline, NO_MORE_WORK)
        except (ActorLostError, PipelineLostError) as error:
            self._broken = error

    def _run(self, lease: Lease, pipeline: PipelineGroup) -> None:
        events = _WorkerEvents(self._link, lease.epoch)
        try:
            spec = TrialSpec.from_record(lease.spec)
            folder = self._folder / lease.key
            with marked_as_worked_on(folder) as killed, self._shared_trials.lead(lease, pipeline) as evaluators:
                give_work(pipeline, Work(lease.key, lease.spec, leads=True, is_shared=evaluators is not None))
                because = f"{killed} with micro-batches of {spec.calibration.at_once}" if killed else ""
                result = run_trial(
                    spec,
                    replica=self._replica,
                    folder=folder,
                    events=events,
                    pipeline=pipeline,
                    evaluators=evaluators,
                    halved_batches_reason=because,
                )
        except PipelineLostError:
            raise
        except Exception as error:  # a failed trial does not end its slot; the reason goes to the driver
            reason = f"{type(error).__name__}: {error}"
            with suppress(OSError):  # the reason is reported in any case
                (self._folder / lease.key).mkdir(parents=True, exist_ok=True)
                (self._folder / lease.key / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
            account = account_of(error)
            result = TrialResult(
                key=lease.key, status=TrialStatus.FAILED, step=account.step, metrics=account.metrics, reason=reason
            )
        record = result_record(result)
        # A search may aim at a metric of training, such as train/loss.
        record["metrics"] = {**events.last, **result.metrics}
        self._link.end(lease.epoch, record)


class _WorkerEvents:
    """The ``Events`` of a trial: puts its metrics into the outbox, and asks whether it is to stop."""

    def __init__(self, link: WorkerLink, epoch: int) -> None:
        self._link, self._epoch = link, epoch
        self.last: dict[str, float] = {}

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self.last = dict(values)
        self._link.add_point(self._epoch, self.last, step=step, time=int(time.time() * 1000))

    def cancelled(self) -> bool:
        return self._link.is_cancelled(self._epoch)

"""The workers of a replica whose model is spread over several: how they find each other, and what the followers do.

Worker 0 leads: it alone talks to the hub. What it takes from there it tells the others, and all of them run the trial.
"""

import secrets
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import ray
import torch
from torch._C._distributed_c10d import Store
from torch.distributed import is_nccl_available

from nmlab.platform.pipeline.stage_store import RayKeys, StageStore
from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import PeerError, PipelineLostError
from nmlab.trials.parallel.mask_parallel import PipelineEvaluators
from nmlab.trials.parallel.pipeline_group import PATIENCE, SINGLE_PROCESS, DistributedGroup, PipelineGroup
from nmlab.trials.spec import TrialSpec
from nmlab.trials.trial.outcome import NullEvents
from nmlab.trials.trial.run import follow_trial, run_trial

OVER = "over"
"""What a leader tells in place of a job, or of an offer to take part, when there will be none any more."""


def form_pipelines(*, slots: int, device: torch.device) -> list[PipelineGroup]:
    """Connect this Train worker with the others of its group, once for every slot."""
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero

    rank, size = get_context().get_world_rank(), get_context().get_world_size()
    if size == 1:
        return [SINGLE_PROCESS] * slots
    # Only Ray carries the secret, to the workers of this group; a new group gets a new one.
    secret = bytes.fromhex(broadcast_from_rank_zero(secrets.token_hex(32) if rank == 0 else None))
    store = StageStore(RayKeys(), secret=secret, patience=PATIENCE)
    by_nccl = _have_a_gpu_each(store, device, rank=rank, size=size)
    settings = {"rank": rank, "size": size, "address": ray.util.get_node_ip_address(), "by_nccl": by_nccl}
    pipelines: list[PipelineGroup] = [
        DistributedGroup(store, name=f"slot-{n}", secret=secret, **settings) for n in range(slots)
    ]
    if not by_nccl:  # nccl reads its addresses when it is first used
        pipelines[0].all_gather(None)
        store.forget()
    return pipelines


def shard_facts(replica: ReplicaContext, pipeline: PipelineGroup, *, pid: int) -> dict[str, Any]:
    """Return what is worth telling of the workers of a replica, to which all of them must contribute."""
    shards = pipeline.all_gather({"pid": pid, "bytes": replica.frozen.bytes, "layers": len(replica.frozen.layers)})
    return {"shards": shards, "model_bytes": sum(shard["bytes"] for shard in shards)}


def give_work(pipeline: PipelineGroup, work: Any) -> None:
    """Give those who follow a job, an offer, None or ``OVER``; raises ``CrewLostError`` where one is not heard of.

    It is given at the last moment, when nothing that the leader does alone can fail any more: those who follow are in
    the trial then and wait there.
    """
    try:
        pipeline.broadcast(work)
    except PeerError as error:
        raise PipelineLostError(f"nobody there to work with: {error}") from error


def follow(pipelines: Sequence[PipelineGroup], *, replica: ReplicaContext, folder: Path) -> None:
    """Run the trials that the leader runs until it says that it is over; raises what ends a slot before that."""
    ends: SimpleQueue[Exception | None] = SimpleQueue()

    def slot(pipeline: PipelineGroup) -> None:
        try:
            _follow(pipeline, replica=replica, folder=folder)
            ends.put(None)
        except Exception as error:  # raised below, in the thread that Train watches
            ends.put(error)

    for pipeline in pipelines:
        threading.Thread(target=slot, args=(pipeline,), daemon=True).start()
    for _ in pipelines:
        if (error := ends.get()) is not None:
            raise error
    pipelines[0].all_gather(replica.frozen.unchanged())


def _follow(pipeline: PipelineGroup, *, replica: ReplicaContext, folder: Path) -> None:
    work: Any = None
    while (work := pipeline.broadcast(work)) != OVER:
        if work is None:
            continue
        place = folder / work["key"]
        try:
            _work(work, pipeline=pipeline, replica=replica, folder=place)
        except PipelineLostError:
            raise
        except Exception:  # the leader tells the hub; here is the place where it happened
            place.mkdir(parents=True, exist_ok=True)
            (place / f"error-of-shard-{pipeline.rank}.txt").write_text(traceback.format_exc(), encoding="utf-8")


def _work(work: dict[str, Any], *, pipeline: PipelineGroup, replica: ReplicaContext, folder: Path) -> None:
    """Run a job with the leader, or take part with it in a trial that another replica leads."""
    spec = TrialSpec.model_validate(work["spec"])
    if "member" in work:
        follow_trial(spec, replica=replica, folder=folder, pipeline=pipeline, evaluators=PipelineEvaluators(pipeline))
    else:
        evaluators = PipelineEvaluators(pipeline) if work["is_shared"] else None
        run_trial(spec, replica=replica, folder=folder, events=NullEvents(), pipeline=pipeline, evaluators=evaluators)


def _have_a_gpu_each(store: Store, device: torch.device, *, rank: int, size: int) -> bool:
    """Say whether every worker has a GPU that no other has, which nccl asks for."""
    own = str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" and is_nccl_available() else ""
    store.set(f"gpu-{rank}", own)
    gpus = [store.get(f"gpu-{other}").decode() for other in range(size)]
    return all(gpus) and len(set(gpus)) == size

"""The workers of a replica with pipeline stages: how they connect, and the loop of all workers but the first.

Worker 0 leads: it alone talks to the dispatcher. It broadcasts each trial to the others, and all of them run it.
"""

import secrets
import threading
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final, Literal

import ray
import torch
from torch.distributed import is_nccl_available

from nmlab.platform.pipeline.stage_store import RayKeys, StageStore
from nmlab.platform.records.payloads import SpecRecord, StageFacts
from nmlab.trials.compat import Store
from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.contract.errors import PeerError, PipelineLostError
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.parallel.distributed_group import PATIENCE, DistributedGroup
from nmlab.trials.parallel.mask_parallel import PipelineEvaluators
from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS, PipelineGroup
from nmlab.trials.trial.outcome import NullEvents
from nmlab.trials.trial.run import follow_trial, run_trial

NO_MORE_WORK: Final = "over"
"""What a leader broadcasts in place of a job or an offer when there will be no more of them."""


def form_pipelines(*, slots: int, device: torch.device) -> list[PipelineGroup]:
    """Connect this Train worker with the others of its replica; return one pipeline group for each slot."""
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


def stage_facts(replica: ReplicaContext, pipeline: PipelineGroup, *, pid: int) -> list[StageFacts]:
    """Return the facts on each worker of a replica for its record; all of them must call this."""
    own: StageFacts = {"pid": pid, "bytes": replica.frozen.bytes, "layers": len(replica.frozen.layers)}
    return pipeline.all_gather(own)


@dataclass(frozen=True)
class Work:
    """A trial for all stages: one that this replica leads, or, if it does not lead, one of another replica to follow.

    ``is_shared`` says of a trial that it leads whether peers evaluate a part of its masks.
    """

    key: str
    spec: SpecRecord
    leads: bool
    is_shared: bool = False


def give_work(pipeline: PipelineGroup, work: Work | Literal["over"] | None) -> None:
    """Broadcast a trial, None (no work yet) or ``NO_MORE_WORK`` to the other stages.

    The leader does this last, when nothing that it does alone can fail any more: the other stages then start the trial
    and wait in it. Raises ``PipelineLostError`` if a stage does not answer.
    """
    try:
        pipeline.broadcast(asdict(work) if isinstance(work, Work) else work)
    except PeerError as error:
        raise PipelineLostError(f"another stage of this replica does not answer: {error}") from error


def follow(pipelines: Sequence[PipelineGroup], *, replica: ReplicaContext, folder: Path) -> None:
    """Run the trials that the leader broadcasts, until ``NO_MORE_WORK``; raises what ends a slot before that."""
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
    sent: Any = None
    while (sent := pipeline.broadcast(sent)) != NO_MORE_WORK:
        if sent is None:
            continue
        work = Work(**sent)
        trial = folder / work.key
        try:
            _work(work, pipeline=pipeline, replica=replica, folder=trial)
        except PipelineLostError:
            raise
        except Exception:  # the leader reports it to the dispatcher; the traceback is kept here
            trial.mkdir(parents=True, exist_ok=True)
            (trial / f"error-of-shard-{pipeline.rank}.txt").write_text(traceback.format_exc(), encoding="utf-8")


def _work(work: Work, *, pipeline: PipelineGroup, replica: ReplicaContext, folder: Path) -> None:
    """Run a trial with the leader of this group, or follow one with it that another replica leads."""
    spec = TrialSpec.from_record(work.spec)
    if not work.leads:
        follow_trial(spec, replica=replica, folder=folder, pipeline=pipeline, evaluators=PipelineEvaluators(pipeline))
    else:
        evaluators = PipelineEvaluators(pipeline) if work.is_shared else None
        run_trial(spec, replica=replica, folder=folder, events=NullEvents(), pipeline=pipeline, evaluators=evaluators)


def _have_a_gpu_each(store: Store, device: torch.device, *, rank: int, size: int) -> bool:
    """Return whether every worker has a GPU of its own, which nccl requires."""
    own = str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" and is_nccl_available() else ""
    store.set(f"gpu-{rank}", own)
    gpus = [store.get(f"gpu-{other}").decode() for other in range(size)]
    return all(gpus) and len(set(gpus)) == size

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
from nmlab.trials.context.replica_context import Workbench
from nmlab.trials.contract.errors import CrewLostError, PeerError
from nmlab.trials.parallel.mask_parallel import CrewParty
from nmlab.trials.parallel.pipeline_group import ALONE, PATIENCE, ConnectedCrew, Crew
from nmlab.trials.spec import TrialSpec
from nmlab.trials.trial.loop import assist_trial, run_trial
from nmlab.trials.trial.outcome import Unheard

OVER = "over"
"""What a leader tells in place of a job, or of an offer to take part, when there will be none any more."""


def form_crews(*, slots: int, device: torch.device) -> list[Crew]:
    """Connect this Train worker with the others of its group, once for every slot."""
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero

    rank, size = get_context().get_world_rank(), get_context().get_world_size()
    if size == 1:
        return [ALONE] * slots
    # Only Ray carries the secret, to the workers of this group; a new group gets a new one.
    secret = bytes.fromhex(broadcast_from_rank_zero(secrets.token_hex(32) if rank == 0 else None))
    store = StageStore(RayKeys(), secret=secret, patience=PATIENCE)
    by_nccl = _have_a_gpu_each(store, device, rank=rank, size=size)
    settings = {"rank": rank, "size": size, "address": ray.util.get_node_ip_address(), "by_nccl": by_nccl}
    crews: list[Crew] = [ConnectedCrew(store, name=f"slot-{n}", secret=secret, **settings) for n in range(slots)]
    if not by_nccl:  # nccl reads its addresses when it is first used
        crews[0].everyone(None)
        store.forget()
    return crews


def shard_facts(bench: Workbench, crew: Crew, *, pid: int) -> dict[str, Any]:
    """Return what is worth telling of the workers of a replica, to which all of them must contribute."""
    shards = crew.everyone({"pid": pid, "bytes": bench.frozen.bytes, "layers": len(bench.frozen.layers)})
    return {"shards": shards, "model_bytes": sum(shard["bytes"] for shard in shards)}


def give_work(crew: Crew, work: Any) -> None:
    """Give those who follow a job, an offer, None or ``OVER``; raises ``CrewLostError`` where one is not heard of.

    It is given at the last moment, when nothing that the leader does alone can fail any more: those who follow are in
    the trial then and wait there.
    """
    try:
        crew.tell(work)
    except PeerError as error:
        raise CrewLostError(f"nobody there to work with: {error}") from error


def follow(crews: Sequence[Crew], *, bench: Workbench, folder: Path) -> None:
    """Run the trials that the leader runs until it says that it is over; raises what ends a slot before that."""
    ends: SimpleQueue[Exception | None] = SimpleQueue()

    def slot(crew: Crew) -> None:
        try:
            _follow(crew, bench=bench, folder=folder)
            ends.put(None)
        except Exception as error:  # raised below, in the thread that Train watches
            ends.put(error)

    for crew in crews:
        threading.Thread(target=slot, args=(crew,), daemon=True).start()
    for _ in crews:
        if (error := ends.get()) is not None:
            raise error
    crews[0].everyone(bench.frozen.unchanged())


def _follow(crew: Crew, *, bench: Workbench, folder: Path) -> None:
    work: Any = None
    while (work := crew.tell(work)) != OVER:
        if work is None:
            continue
        place = folder / work["key"]
        try:
            _work(work, crew=crew, bench=bench, folder=place)
        except CrewLostError:
            raise
        except Exception:  # the leader tells the hub; here is the place where it happened
            place.mkdir(parents=True, exist_ok=True)
            (place / f"error-of-shard-{crew.rank}.txt").write_text(traceback.format_exc(), encoding="utf-8")


def _work(work: dict[str, Any], *, crew: Crew, bench: Workbench, folder: Path) -> None:
    """Run a job with the leader, or take part with it in a trial that another replica leads."""
    spec = TrialSpec.model_validate(work["spec"])
    if "member" in work:
        assist_trial(spec, bench=bench, folder=folder, crew=crew, party=CrewParty(crew))
    else:
        party = CrewParty(crew) if work["is_shared"] else None
        run_trial(spec, bench=bench, folder=folder, events=Unheard(), crew=crew, party=party)


def _have_a_gpu_each(store: Store, device: torch.device, *, rank: int, size: int) -> bool:
    """Say whether every worker has a GPU that no other has, which nccl asks for."""
    own = str(torch.cuda.get_device_properties(device).uuid) if device.type == "cuda" and is_nccl_available() else ""
    store.set(f"gpu-{rank}", own)
    gpus = [store.get(f"gpu-{other}").decode() for other in range(size)]
    return all(gpus) and len(set(gpus)) == size

"""Memory admission: what a worker needs, what its machine or GPU has, whether a study fits, and what would fit instead.

Decided three times: before a launch begins (`check_study_fits`), for the nodes of a cluster (`check_room` in
`cluster/nodes.py`), and by each worker before it loads the model (`why_worker_does_not_fit`).
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from nmlab.platform.planning.checks import check_slots, why_deadlocked
from nmlab.platform.planning.machine import Machine, free_bytes
from nmlab.search_spaces.schema.study import Study

WORKER_BYTES = 450 * 2**20
"""Private memory of a process that has imported torch, transformers and Ray and runs trials (Linux, CPU builds)."""
BESIDE_BYTES = 250 * 2**20
"""What Ray starts beside it for every replica: the Train controller, and the actor of a trial."""
CUDA_BYTES = 500 * 2**20
"""A CUDA context with its libraries."""


@dataclass(frozen=True)
class Load:
    """The memory of one replica in bytes: the frozen weights, what its trials share, and what one slot needs.

    ``shared`` is in the memory of its device, and ``shared_on_host`` in that of the machine if the device is a GPU.
    """

    weights: int
    block_weights: int
    blocks: int
    shared: int
    slot: int
    shared_on_host: int = 0

    def worker(self, *, slots: int, stages: int = 1) -> int:
        """Return the bytes of a replica's largest worker.

        A worker holds one pipeline stage: a run of decoder blocks (stages differ by one block at most), and perhaps
        embeddings and head. Its part of a slot is proportional to its blocks.
        """
        share = self._largest_share(stages)
        held = self.weights - self.block_weights + math.ceil(self.block_weights * share)
        return held + self.shared + math.ceil(slots * self.slot * share)

    def most_slots(self, free: int, *, stages: int = 1) -> int:
        """Return how many trials fit at once where each worker has ``free`` bytes; negative if the weights do not."""
        beside_slots = free - self.worker(slots=0, stages=stages)
        return math.floor(beside_slots / (max(1, self.slot) * self._largest_share(stages)))

    def fewest_stages(self, free: int, *, slots: int) -> int | None:
        """Return the smallest number of workers, each with ``free`` bytes, that hold the replica; None if none does."""
        fitting = (n for n in range(1, self.blocks + 1) if self.worker(slots=slots, stages=n) <= free)
        return next(fitting, None)

    def _largest_share(self, stages: int) -> Fraction:
        """Return the share of the decoder blocks that the largest stage holds, exact, so that limits are."""
        return Fraction(math.ceil(self.blocks / stages), self.blocks)


@dataclass(frozen=True)
class ReplicaFit:
    """The slots and pipeline stages with which one replica would fit here; None if none would."""

    slots: int | None
    stages: int | None
    reason: str


def check_study_fits(study: Study, load: Load, *, machine: Machine) -> None:
    """Raise ``ValueError`` with the numbers if this machine's memory does not hold all replicas of a study.

    Raises ``ValueError`` also as ``check_slots`` does.
    """
    replica = study.replica
    check_slots(study, has_gpus=machine.device == "cuda")
    _check_gpu_hours(study, machine=machine)
    _check_shared_on_host(study, load, machine=machine)
    need, free = needed_bytes(study, load, machine=machine), usable_bytes(study, machine=machine)
    if need <= free:
        return
    slots, where = replica.slots, "each GPU" if machine.device == "cuda" else "this machine"
    others = f"{replica.count} replicas of " if replica.count > 1 and machine.device == "cpu" else ""
    parts = f"weights {size(load.weights)} and {slots} slot(s) of {size(load.slot)}"
    raise ValueError(
        f"replica.slots = {slots}: {others}{parts} need {size(need)}, but {where} has {size(free)} free; "
        f"{replica_fit(study, load, machine=machine).reason}"
    )


def _check_gpu_hours(study: Study, *, machine: Machine) -> None:
    """Raise ``ValueError`` if GPU hours are limited on a machine that has no GPU, where none would ever be used."""
    total = study.budget.total
    if total is not None and total.gpu_hours is not None and machine.device != "cuda":
        raise ValueError(
            f"budget.total.gpu_hours = {total.gpu_hours:g}: this machine has no GPU; expected budget.total.seconds"
        )


def _check_shared_on_host(study: Study, load: Load, *, machine: Machine) -> None:
    """Raise ``ValueError`` if the machine's memory does not hold what the trials of replicas on GPUs share."""
    workers = study.replica.count * study.replica.pipeline_stages
    need = workers * load.shared_on_host
    if machine.host_free_bytes is not None and need > machine.host_free_bytes:
        raise ValueError(
            f"replica: {workers} worker(s) keep {size(load.shared_on_host)} each for their trials (text, gradient "
            f"norms, initial masks), {size(need)}, but this machine has {size(machine.host_free_bytes)} free; "
            "use fewer slots or less text"
        )


def why_worker_does_not_fit(load: Load, *, slots: int, stages: int, device: str, room: int | None = None) -> str:
    """Return why a replica's worker does not fit or cannot run, before it loads its model; "" if it can.

    ``room`` is the number of bytes free where it will run; by default those free here.
    """
    if why := why_deadlocked(slots=slots, stages=stages, on_gpus=device == "cuda"):
        return why
    free = (free_bytes(device) if room is None else room) - (CUDA_BYTES if device == "cuda" else 0)
    need = load.worker(slots=slots, stages=stages)
    if need <= free:
        return ""
    fit = max(0, load.most_slots(free, stages=stages))
    split = f" in {stages} pipeline stages" if stages > 1 else ""
    return (
        f"replica.slots = {slots}: weights {size(load.weights)} and {slots} slot(s) of {size(load.slot)}{split} need "
        f"{size(need)}, but {size(max(0, free))} are free; {f'slots: {fit} would fit' if fit else 'not one slot fits'}"
    )


def needed_bytes(study: Study, load: Load, *, machine: Machine) -> int:
    """Return the bytes that a study puts on one GPU; on the CPU those of all workers, which share one memory."""
    one = load.worker(slots=study.replica.slots, stages=study.replica.pipeline_stages)
    if machine.device == "cuda":
        return one
    # Weights are pages of one file, held once however many replicas and stages there are.
    slots = study.replica.count * study.replica.slots * load.slot
    return load.weights + slots + study.replica.count * study.replica.pipeline_stages * load.shared


def usable_bytes(study: Study, *, machine: Machine) -> int:
    """Return the free bytes less those that the processes themselves take."""
    if machine.device == "cuda":
        return max(0, machine.free_bytes - CUDA_BYTES)
    return max(
        0, machine.free_bytes - study.replica.count * (study.replica.pipeline_stages * WORKER_BYTES + BESIDE_BYTES)
    )


def replica_fit(study: Study, load: Load, *, machine: Machine) -> ReplicaFit:
    """Return the slots that fit a replica beside the others, or the pipeline stages with which it would fit."""
    free = usable_bytes(study, machine=machine)
    if machine.device == "cpu":
        count = study.replica.count
        slots = (free - load.weights - count * load.shared) // max(1, load.slot) // count
        if slots >= 1:
            useful = min(slots, max(1, machine.cores // count))
            return ReplicaFit(useful, 1, f"slots: {slots} would fit, {useful} would have a core each")
        return ReplicaFit(None, None, "not one slot fits; use a smaller model, dtype, batch_size or sequence_length")
    slots = load.most_slots(free)
    if slots >= 1:
        return ReplicaFit(slots, 1, f"slots: {slots} would fit")
    stages = load.fewest_stages(free, slots=1)
    if stages is None:
        return ReplicaFit(None, None, f"not even one block a GPU (pipeline_stages: {load.blocks}) would fit")
    have = "" if stages <= machine.device_count else f", of which this machine has {machine.device_count}"
    return ReplicaFit(1, stages, f"slots: 1 with pipeline_stages: {stages} would fit on {stages} GPUs{have}")


def size(count: float) -> str:
    """Return a number of bytes as text with a unit: 512 B, 3.2 MB, 1.5 GB (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"

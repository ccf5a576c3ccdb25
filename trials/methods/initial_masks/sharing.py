"""Initial masks for the trials that ask for them: found or computed once, and shared over trials, ranks and processes.

A replica keeps each mask in memory, a launch keeps it as a file that other replicas read, and the ranks of a pipeline
group get the parts of their own layers from their leader.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from filelock import FileLock
from torch import Tensor

from nmlab.trials.contract.values import JsonObject
from nmlab.trials.measure.cost import Bill, Priced
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import Method, MethodConfig, TrialContext
from nmlab.trials.methods.initial_masks.compute import compute
from nmlab.trials.methods.initial_masks.identity import identity_of, initial_mask_key
from nmlab.trials.methods.initial_masks.lookup import SharedMask, initial_mask_file, look_up, save
from nmlab.trials.methods.initial_masks.names import initial_mask_method, unknown_reason


def initial_mask(name: str, context: TrialContext) -> dict[str, Tensor]:
    """Return the initial mask ``name`` for this model, text and pattern, boolean [out, in] by layer.

    From a method that changes weights only the mask is used. The trial is charged the cost of the mask, whichever trial
    computed it, and the notes of its computation are added to ``context``. Raises ``ValueError`` for an unknown name.
    """
    if reason := unknown_reason(name):
        raise ValueError(reason)
    method, config = initial_mask_method(name)
    shared_by = ("initial mask", *initial_mask_key(name, context))
    found = context.share_priced(
        shared_by, lambda: _find_or_compute(registry.load(method.name), config, context), initial=True
    )
    if found.digest not in context.started_from:
        context.started_from[found.digest] = found.record
        context.notes.extend(f"initial mask: {note}" for note in found.record["notes"])
    frozen = context.replica.frozen
    return {layer: mask.to(frozen.device) for layer, mask in found.unpacked(frozen.layers).items()}


def _find_or_compute(method: Method, config: MethodConfig, context: TrialContext) -> Priced[SharedMask]:
    """Read the mask from its file, or compute it and write the file; only one of several processes computes it.

    In a pipeline group the leader reads and writes, and each rank gets the part of its own layers.
    """
    identity, frozen = identity_of(method, config, context), context.replica.frozen
    folder, pipeline = context.replica.initial_masks, context.model.pipeline
    if folder is None:
        return _scattered(compute(method, config, context, identity=identity), context)
    if not pipeline.leads:
        is_found = pipeline.broadcast(False)
        return _scattered(None if is_found else compute(method, config, context, identity=identity), context)
    path = initial_mask_file(folder, key=identity.key)
    with _locked(path):
        found = look_up(path, identity=identity, frozen=frozen)
        pipeline.broadcast(found.mask is not None)
        if found.mask is not None:
            return _scattered(found.mask, context)
        whole = compute(method, config, context, identity=identity, notes=found.notes)
        save(path, whole.value, identity=identity, frozen=frozen)
        return _scattered(whole, context)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Keep other processes from the file; the system releases the lock when its owner dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        yield


def _scattered(whole: Priced[SharedMask] | None, context: TrialContext) -> Priced[SharedMask]:
    """Scatter the leader's mask to the ranks of a pipeline group by layer; digest and record are those of the whole."""
    pipeline = context.model.pipeline
    if context.replica.frozen.stage is None:
        assert whole is not None
        return whole
    names = pipeline.all_gather([layer.name for layer in context.replica.frozen.layers])
    parts: list[JsonObject] = []
    if pipeline.leads:
        assert whole is not None
        common = {"digest": whole.value.digest, "record": whole.value.record}
        costs = {"bill": asdict(whole.bill), "spent": asdict(whole.spent)}
        bits = whole.value.bits
        parts = [{"bits": {name: bits[name] for name in of_stage}, **common, **costs} for of_stage in names]
    own = pipeline.scatter(parts)
    mask = SharedMask(own["bits"], own["digest"], own["record"])
    return Priced(mask, Bill(**own["bill"]), Bill(**own["spent"]))

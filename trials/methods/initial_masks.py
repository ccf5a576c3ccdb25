"""Initial masks of learned methods: computed once for all trials that start from them, and kept as files.

The key of a file is a digest of all that the mask depends on: the method with its hyperparameters, the model's weights,
the calibration tokens, the pattern, and the seed of a method that draws at random.
"""

import hashlib
import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from torch import Tensor

from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.contract.run_artifacts import MASK_FILE
from nmlab.trials.masks.bits import bits_digest, pack, unpack
from nmlab.trials.masks.bundle import BundleInfo, read_bundle, save_bundle
from nmlab.trials.measure.cost import Bill, Priced
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import Method, TrialContext
from nmlab.trials.models import MaskedModel, PrunableLayer
from nmlab.trials.models.finished import check_fits


@dataclass(frozen=True, eq=False)
class InitialMask:
    """An initial mask that the trials of a process share: packed bits by layer, their digest, and its record.

    The record is plain JSON: the key of the file, the method and data it was made from, its cost, and notes.
    """

    bits: Mapping[str, Tensor]
    digest: str
    record: dict[str, Any]


def available() -> tuple[str, ...]:
    """Return the names of the methods whose masks can be initial masks: sparse and not learned."""
    return tuple(name for name in registry.names() if registry.get(name).sparse and not registry.get(name).learned)


def initial_mask_key(name: str, context: TrialContext) -> tuple[Hashable, ...]:
    """Return a hashable key of an initial mask; it includes the trial's seed for a method that draws at random."""
    return (name, context.pattern, context.calibration, _seed(registry.get(name), context))


def initial_mask_file(folder: Path, *, key: str) -> Path:
    """Return the file of an initial mask in the folder that holds those of a launch."""
    return folder / key / MASK_FILE


def initial_mask(name: str, context: TrialContext) -> dict[str, Tensor]:
    """Return the mask of the one-shot method ``name`` for this model, text and pattern, boolean [out, in] by layer.

    From a method that changes weights only the mask is used. The trial is charged the cost of the mask, whichever trial
    computed it, and the notes of its computation are added to ``context``. Raises ``ValueError`` for an unknown name.
    """
    if name not in available():
        raise ValueError(unknown_name(name, kind="initial_mask", known=available()))
    shared_by = ("initial mask", *initial_mask_key(name, context))
    found = context.share_priced(shared_by, lambda: _find(registry.get(name), context), initial=True)
    if found.digest not in context.started_from:
        context.started_from[found.digest] = found.record
        context.notes.extend(f"initial mask: {note}" for note in found.record["notes"])
    frozen = context.replica.frozen
    return {layer: mask.to(frozen.device) for layer, mask in _unpacked(found, frozen.layers).items()}


def _find(method: Method, context: TrialContext) -> Priced[InitialMask]:
    """Read the mask from its file, or compute it and write the file; only one of several processes computes it.

    In a pipeline group the leader reads and writes, and each rank gets the part of its own layers.
    """
    key, folder, pipeline = _file_key(method, context), context.replica.initial_masks, context.model.pipeline
    if folder is None:
        return _share_out(_compute(method, context, key=key), context)
    if not pipeline.leads:
        found = pipeline.broadcast(False)
        return _share_out(None if found else _compute(method, context, key=key), context)
    path = initial_mask_file(folder, key=key)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # the system releases it when its owner dies
        read, notes = _read_if_there(path, method, context, key=key)
        pipeline.broadcast(read is not None)
        if read is not None:
            return _share_out(read, context)
        whole = _compute(method, context, key=key, notes=notes)
        info = _info(method, context, key=key)
        save_bundle(
            path, _unpacked(whole.value, context.replica.frozen.all_layers), info=info, origin=whole.value.record
        )
        return _share_out(whole, context)


def _share_out(whole: Priced[InitialMask] | None, context: TrialContext) -> Priced[InitialMask]:
    """Scatter the leader's mask to the ranks of a pipeline group by layer; digest and record are those of the whole."""
    pipeline = context.model.pipeline
    if context.replica.frozen.stage is None:
        assert whole is not None
        return whole
    names = pipeline.all_gather([layer.name for layer in context.replica.frozen.layers])
    parts: list[dict[str, Any]] = []
    if pipeline.leads:
        assert whole is not None
        common = {"digest": whole.value.digest, "record": whole.value.record}
        costs = {"bill": asdict(whole.bill), "spent": asdict(whole.spent)}
        bits = whole.value.bits
        parts = [{"bits": {name: bits[name] for name in theirs}, **common, **costs} for theirs in names]
    own = pipeline.scatter(parts)
    mask = InitialMask(own["bits"], own["digest"], own["record"])
    return Priced(mask, Bill(**own["bill"]), Bill(**own["spent"]))


def _read_if_there(
    path: Path, method: Method, context: TrialContext, *, key: str
) -> tuple[Priced[InitialMask] | None, tuple[str, ...]]:
    """Return the mask in the file, or None with the notes on why it could not be used."""
    if not path.exists():
        return None, ()
    try:
        return _read(path, method, context, key=key), ()
    except ValueError as error:
        return None, (f"computed again, because its file could not be used: {error}",)


def _compute(method: Method, context: TrialContext, *, key: str, notes: tuple[str, ...] = ()) -> Priced[InitialMask]:
    """Compute the mask; the ranks of a pipeline group do so together, and the leader gets the whole of it."""
    own = TrialContext(
        replica=context.replica,
        model=MaskedModel(context.replica.frozen, pipeline=context.model.pipeline),
        pattern=context.pattern,
        calibration=context.calibration,
        seed=context.seed,
    )
    with own.cost.watch():
        masks = method.start(own, method.configure({})).masks()
    bill = own.cost.bill
    record = {
        "key": key,
        **_made_from(method, context),
        "model": context.replica.frozen.source.source,
        "calibration": context.calibration.model_dump(mode="json", exclude_none=True),
        "cost": asdict(bill),
        "notes": [*notes, *own.notes],
    }
    parts = context.model.pipeline.gather({layer: pack(mask) for layer, mask in masks.items()})
    bits = {layer: packed for part in parts for layer, packed in part.items()}  # an eighth: it outlives the trial
    return Priced(InitialMask(bits, bits_digest(bits), record), bill, own.cost.spent)


def _read(path: Path, method: Method, context: TrialContext, *, key: str) -> Priced[InitialMask]:
    """Return the mask in a file; raises ``ValueError`` for a file that is damaged or holds another mask."""
    bundle = read_bundle(path)
    check_fits(bundle.masks, info=bundle.info, frozen=context.replica.frozen)
    record, made_from = bundle.origin, _made_from(method, context)
    if bundle.info != _info(method, context, key=key) or not made_from.items() <= record.items():
        raise ValueError(f"{path} holds another mask than its name says")
    bits = {layer: pack(mask) for layer, mask in bundle.masks.items()}
    return Priced(InitialMask(bits, bits_digest(bits), record), Bill(**record["cost"]), Bill())


def _unpacked(found: InitialMask, layers: Iterable[PrunableLayer]) -> dict[str, Tensor]:
    return {
        layer.name: unpack(found.bits[layer.name], shape=(layer.out_features, layer.in_features)) for layer in layers
    }


def _info(method: Method, context: TrialContext, *, key: str) -> BundleInfo:
    frozen = context.replica.frozen
    return BundleInfo(frozen.source.source, frozen.digest, str(context.pattern), method.name, key)


def _file_key(method: Method, context: TrialContext) -> str:
    """Return 16 hexadecimal digits over everything that the mask depends on."""
    text = json.dumps(_made_from(method, context), sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _made_from(method: Method, context: TrialContext) -> dict[str, Any]:
    """Return as plain JSON all that a mask depends on; the calibration text by its tokens, not by its name."""
    return {
        "method": method.name,
        "hyperparameters": method.configure({}).model_dump(mode="json"),
        "pattern": str(context.pattern),
        "seed": _seed(method, context),
        "model_digest": context.replica.frozen.digest,
        "calibration_digest": _tokens_digest(context.batches),
        **({"leave_dense": list(left)} if (left := context.replica.frozen.source.leave_dense) else {}),
    }


def _tokens_digest(batches: list[Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for batch in batches:
        digest.update(json.dumps(list(batch.shape)).encode() + batch.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _seed(method: Method, context: TrialContext) -> int:
    return context.seed if method.depends_on_seed else 0

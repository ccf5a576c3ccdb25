"""The computation of an initial mask: one run of a one-shot method, with an account of its own."""

from collections.abc import Sequence
from dataclasses import asdict

from nmlab.trials.masks.bits import pack
from nmlab.trials.measure.cost import Cost, Priced
from nmlab.trials.methods.base import Method, MethodConfig, TrialContext
from nmlab.trials.methods.initial_masks.identity import Identity
from nmlab.trials.methods.initial_masks.lookup import SharedMask, packed


def compute(
    method: Method, config: MethodConfig, context: TrialContext, *, identity: Identity, notes: Sequence[str] = ()
) -> Priced[SharedMask]:
    """Compute the mask; the ranks of a pipeline group do so together, and the leader gets the whole of it."""
    own = context.for_shared(Cost())
    with own.cost.watch():
        masks = method.start(own, config).masks()
    bill = own.cost.bill
    record = {
        "key": identity.key,
        **identity.made_from,
        "model": context.replica.frozen.source.source,
        "calibration": context.calibration.model_dump(mode="json", exclude_none=True),
        "cost": asdict(bill),
        "notes": [*notes, *own.notes],
    }
    # Packed, because it outlives the trial.
    parts = context.model.pipeline.gather({layer: pack(mask) for layer, mask in masks.items()})
    bits = {layer: own_bits for part in parts for layer, own_bits in part.items()}
    return Priced(packed(bits, record), bill, own.cost.spent)

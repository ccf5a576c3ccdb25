"""Masks that another method starts from, computed once for all trials that start there."""

from collections.abc import Hashable

from torch import Tensor

from nmlab.trials import registry
from nmlab.trials.masks.bits import pack, unpack
from nmlab.trials.method import Setting
from nmlab.trials.models import MaskedModel
from nmlab.trials.names import unknown_name


def available() -> tuple[str, ...]:
    """Return the names of the methods whose mask can be an initial mask: sparse and not learned."""
    return tuple(name for name in registry.names() if registry.get(name).sparse and not registry.get(name).learned)


def initial_mask_key(name: str, setting: Setting) -> tuple[Hashable, ...]:
    """Return what an initial mask depends on; a method that draws at random is keyed by the trial's seed."""
    seed = setting.seed if registry.get(name).depends_on_seed else 0
    return (name, setting.pattern, setting.calibration, seed)


def initial_mask(name: str, setting: Setting) -> dict[str, Tensor]:
    """Return the mask of the one-shot method ``name`` for this model, text and pattern, boolean [out, in] by layer.

    Of a method that changes weights only the mask is taken. What it noted is noted in ``setting`` too. Raises
    ``ValueError`` for a name that is none.
    """
    if name not in available():
        raise ValueError(unknown_name(name, kind="initial_mask", known=available()))
    method = registry.get(name)

    def compute() -> tuple[dict[str, Tensor], list[str]]:  # kept as bits: it outlives the trial that asked first
        own = Setting(
            bench=setting.bench,
            model=MaskedModel(setting.bench.frozen),
            pattern=setting.pattern,
            calibration=setting.calibration,
            seed=setting.seed,
        )
        masks = method.start(own, method.configure({})).masks()
        return {layer: pack(mask) for layer, mask in masks.items()}, own.notes

    bits, notes = setting.bench.once(("initial mask", *initial_mask_key(name, setting)), compute)
    setting.notes.extend(f"initial mask: {note}" for note in notes)
    return {
        layer.name: unpack(bits[layer.name], shape=(layer.out_features, layer.in_features)).to(
            setting.bench.frozen.device
        )
        for layer in setting.bench.frozen.layers
    }

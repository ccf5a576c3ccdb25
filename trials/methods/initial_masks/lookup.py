"""The files of initial masks: where one lies, reading it, and writing it. Nothing is computed here."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nmlab.trials.contract.run_artifacts import MASK_FILE
from nmlab.trials.contract.values import JsonObject
from nmlab.trials.masks.bits import bits_digest, pack, unpack
from nmlab.trials.masks.bundle import read_bundle, save_bundle
from nmlab.trials.measure.cost import Bill, Priced
from nmlab.trials.methods.initial_masks.identity import Identity
from nmlab.trials.models import FrozenModel, PrunableLayer
from nmlab.trials.models.finished import check_fits


@dataclass(frozen=True, eq=False)
class SharedMask:
    """A mask that the trials of a process share: bits by layer, an eighth of a byte a weight, and their digest.

    ``record`` is plain JSON: the key of the file, the method and data it was made from, its cost, and notes.
    """

    bits: Mapping[str, Tensor]
    digest: str
    record: JsonObject

    def unpacked(self, layers: Iterable[PrunableLayer]) -> dict[str, Tensor]:
        """Return the masks of some layers, boolean [out, in]."""
        return {
            layer.name: unpack(self.bits[layer.name], shape=(layer.out_features, layer.in_features)) for layer in layers
        }


def packed(bits: Mapping[str, Tensor], record: JsonObject) -> SharedMask:
    """Return bits by layer as a mask, with their digest."""
    return SharedMask(bits, bits_digest(bits), record)


@dataclass(frozen=True, eq=False)
class Lookup:
    """The mask that was found in a file, or None with notes on why the file could not be used."""

    mask: Priced[SharedMask] | None = None
    notes: tuple[str, ...] = ()


def initial_mask_file(folder: Path, *, key: str) -> Path:
    """Return the file of an initial mask in the folder that holds those of a launch."""
    return folder / key / MASK_FILE


def look_up(path: Path, *, identity: Identity, frozen: FrozenModel) -> Lookup:
    """Return the mask in a file, where there is one that can be used; what it cost counts as spent by others."""
    if not path.exists():
        return Lookup()
    try:
        return Lookup(_read(path, identity=identity, frozen=frozen))
    except ValueError as error:
        return Lookup(notes=(f"computed again, because its file could not be used: {error}",))


def save(path: Path, mask: SharedMask, *, identity: Identity, frozen: FrozenModel) -> None:
    """Write the file of an initial mask, which holds all layers."""
    save_bundle(path, mask.unpacked(frozen.all_layers), info=identity.info, origin=mask.record)


def _read(path: Path, *, identity: Identity, frozen: FrozenModel) -> Priced[SharedMask]:
    """Return the mask in a file; raises ``ValueError`` for a file that is damaged or holds another mask."""
    bundle = read_bundle(path)
    check_fits(bundle.masks, info=bundle.info, frozen=frozen)
    record = bundle.origin
    if bundle.info != identity.info or not identity.made_from.items() <= record.items():
        raise ValueError(f"{path} holds another mask than its name says")
    mask = packed({layer: pack(mask) for layer, mask in bundle.masks.items()}, record)
    return Priced(mask, Bill(**record["cost"]), Bill())

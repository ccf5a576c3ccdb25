"""Reads masks of runs without torch: safetensors files of packed bits with shapes in their header.

Bit order is little-endian: entry k of a flattened mask is bit ``k % 8`` of byte ``k // 8``. Groups of M lie along
the input axis, which is the last one.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load

from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.store import RunStore
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.run_artifacts import HEADER_FORMAT, HEADER_INFO, HEADER_SHAPES, MASK_FILE, MASK_FORMAT

MOST_BYTES = 512 * 2**20
LENGTH_BYTES = 8  # of the header, at the start of every safetensors file

Bytes: TypeAlias = npt.NDArray[np.uint8]
Bools: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PackedMask:
    """One layer's mask: the bits, its shape [out, in], and N and M of its pattern."""

    bits: Bytes
    shape: tuple[int, int]
    n: int
    m: int

    @property
    def entries(self) -> int:
        """How many weights the mask covers."""
        return math.prod(self.shape)

    def is_like(self, other: "PackedMask") -> bool:
        """Whether another mask has the same shape and pattern."""
        return (self.shape, self.n, self.m) == (other.shape, other.n, other.m)

    def different(self, other: "PackedMask") -> int:
        """Return how many weights one of two masks keeps and the other drops."""
        return int(np.bitwise_count(self.bits ^ other.bits).sum())

    def unpacked(self) -> Bools:
        """Return the mask as booleans, [out, in]."""
        flat = np.unpackbits(self.bits, bitorder="little", count=self.entries)
        return flat.astype(np.bool_).reshape(self.shape)

    def corner(self, size: int) -> Bools:
        """Return the first rows and columns of the mask, [size, size] or less, unpacking only these rows."""
        rows, width = min(size, self.shape[0]), self.shape[1]
        flat = np.unpackbits(self.bits[: (rows * width + 7) // 8], bitorder="little", count=rows * width)
        return flat.astype(np.bool_).reshape(rows, width)[:, :size]


def read_masks(
    store: RunStore, *, run_ids: Iterable[str], most_bytes: int = MOST_BYTES
) -> dict[str, dict[str, PackedMask]]:
    """Read the masks of some runs in the given order, up to a limit on their total size.

    Args:
        store: the store that holds the artifacts.
        run_ids: runs in order of importance; runs without a mask are left out.
        most_bytes: the limit on the bytes of packed masks; a mask that exceeds it is left out.

    Raises:
        ReportError: a damaged mask.
    """
    found: dict[str, dict[str, PackedMask]] = {}
    held = 0
    for run_id in dict.fromkeys(run_ids):
        size = store.artifact_size(run_id, name=MASK_FILE)
        if size is None or held + size > most_bytes:
            continue
        content = store.artifact(run_id, name=MASK_FILE)
        assert content is not None, "the artifact was listed a moment ago"
        held += size
        found[run_id] = parse_masks(content, run_id=run_id)
    return found


def parse_masks(content: bytes, *, run_id: str) -> dict[str, PackedMask]:
    """Read the masks of one run by layer name, each checked to keep exactly N of every M.

    Args:
        content: the file.
        run_id: the run it belongs to, for messages.

    Raises:
        ReportError: a file that is not a mask bundle, is damaged, or holds a group that does not keep N of M.
    """
    try:
        header = _header(content)
        shapes, pattern = json.loads(header[HEADER_SHAPES]), json.loads(header[HEADER_INFO])["pattern"]
        kept = Pattern.parse(pattern)
        tensors = load(content)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(f"{MASK_FILE} of run {run_id} is corrupted: {error}") from error
    if header.get(HEADER_FORMAT) != MASK_FORMAT or tensors.keys() != shapes.keys():
        raise ReportError(f"{MASK_FILE} of run {run_id} is not a mask bundle; expected format {MASK_FORMAT}")
    masks = {name: PackedMask(bits, _shape(shapes[name]), kept.n, kept.m) for name, bits in sorted(tensors.items())}
    for name, mask in masks.items():
        _check(mask, name, run_id)
    return masks


def _header(content: bytes) -> dict[str, str]:
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    metadata = json.loads(content[LENGTH_BYTES : LENGTH_BYTES + length])["__metadata__"]
    return {str(name): str(value) for name, value in metadata.items()}


def _shape(shape: list[int]) -> tuple[int, int]:
    rows, columns = shape
    return int(rows), int(columns)


def _check(mask: PackedMask, name: str, run_id: str) -> None:
    if mask.bits.dtype != np.uint8 or mask.bits.size != (mask.entries + 7) // 8 or mask.shape[1] % mask.m:
        raise ReportError(f"{MASK_FILE} of run {run_id}: {name} does not fit its shape {mask.shape}")
    kept = mask.unpacked().reshape(-1, mask.m).sum(axis=1)
    wrong = np.flatnonzero(kept != mask.n)
    if wrong.size:
        place = wrong[0]
        found = f"{name} keeps {kept[place]} of group {place}"
        raise ReportError(f"{MASK_FILE} of run {run_id}: {found}, expected {mask.n} of {mask.m}")

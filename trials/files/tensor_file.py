"""Files of named tensors (safetensors), written atomically, with the same bytes for the same contents."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nmlab.trials.files.atomic_file import atomic_file

_LENGTH = 8  # bytes of the header's size at the beginning of a file, little-endian


def write_tensors(path: Path, tensors: Mapping[str, Tensor], *, header: Mapping[str, str]) -> None:
    """Write tensors with a header of texts atomically, and flush them to the disk."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_file(path) as partial:
        safetensors.torch.save_file(plain, partial, metadata=dict(header))
        _sort_header(partial)


def read_tensors(path: Path, *, kind: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file and its header; raises ``ValueError`` that names the file and the damage.

    For a truncated file the message names the first tensor that is not complete.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, safetensors.SafetensorError) as error:
        reason = _cut_off(path) or f"not a readable safetensors file ({error})"
        raise ValueError(f"{kind} {path}: {reason}") from error
    return tensors, header


def tensor_digest(name: str, tensor: Tensor) -> str:
    """Return 16 hexadecimal digits over a tensor's name, type, shape and bytes."""
    digest = hashlib.blake2b(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode(), digest_size=8)
    digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sort_header(path: Path) -> None:
    """Sort the header's texts: the library writes them in the order of a hash table, which differs by process."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(_LENGTH), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(text) <= size, "the same texts in another order took more room"
        file.seek(_LENGTH)
        file.write(text.ljust(size))
        file.flush()
        os.fsync(file.fileno())


def _cut_off(path: Path) -> str | None:
    """Return the first incomplete tensor of a truncated file, or None where the file is not truncated."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(_LENGTH), "little")
            length = path.stat().st_size - _LENGTH - size
            header = json.loads(file.read(size)) if length >= 0 else {}
        ends = {name: entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"}
        short = [(end, name) for name, end in ends.items() if end > length]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, MemoryError):
        return None
    return f"cut short, tensor {min(short)[1]!r} is not whole" if short else None

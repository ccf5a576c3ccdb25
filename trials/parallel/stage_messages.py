"""Messages between the processes of a pipeline, as bytes: JSON followed by the bytes of tensors; never a pickle.

A message that arrives is parsed and nothing in it is executed. Numbers, text, lists, tuples, dictionaries, bytes and
tensors come out as they went in; floats bit for bit, because JSON writes the shortest text that reads back the same.

Layout: 8 bytes with the length of the JSON (little-endian), the JSON, then the bytes of its parts one after another.
"""

import json
from collections.abc import Mapping
from math import prod

import torch
from torch import Tensor

_LENGTH = 8
_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
    )
}


class MessageError(RuntimeError):
    """Raised for bytes that are not a message of another stage."""


def encode(value: object) -> bytes:
    """Return the bytes of a value of plain Python values and tensors; raises ``TypeError`` for any other."""
    parts: list[bytes] = []
    header = json.dumps(_plain(value, parts), separators=(",", ":")).encode()
    return b"".join([len(header).to_bytes(_LENGTH, "little"), header, *parts])


def decode(data: bytes) -> object:
    """Return the value that ``encode`` was given; tensors are on the CPU. Raises ``MessageError`` for other bytes."""
    end = _LENGTH + int.from_bytes(data[:_LENGTH], "little")
    try:
        if end > len(data):
            raise ValueError("it is truncated")
        reader = _Parts(data, end)
        value = _value(json.loads(data[_LENGTH:end]), reader)
        reader.check_over()
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise MessageError(f"what another stage sent cannot be read: {error}") from error
    return value


class _Parts:
    """The bytes behind the JSON, taken in order."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data, self._position = data, position

    def take(self, size: int) -> bytes:
        if type(size) is not int or not 0 <= size <= len(self._data) - self._position:
            raise ValueError(f"a part of {size!r} bytes is missing")
        self._position += size
        return self._data[self._position - size : self._position]

    def check_over(self) -> None:
        if self._position != len(self._data):
            raise ValueError("it has more bytes than it states")


def _plain(value: object, parts: list[bytes]) -> object:
    """Return the JSON form of a value: a type that JSON lacks becomes an object of one entry, named by its kind."""
    match value:
        case None | bool():
            return value
        case int():
            return int(value)
        case float():
            return float(value)
        case str():
            return str(value)
        case list():
            return [_plain(item, parts) for item in value]
        case tuple():
            return {"tuple": [_plain(item, parts) for item in value]}
        case Mapping():
            return {"dict": [[_plain(key, parts), _plain(item, parts)] for key, item in value.items()]}
        case bytes():
            parts.append(value)
            return {"bytes": len(value)}
        case Tensor() if str(value.dtype).removeprefix("torch.") in _DTYPES:
            flat = value.detach().cpu().contiguous().reshape(-1)
            parts.append(flat.view(torch.uint8).numpy().tobytes())
            return {"tensor": [str(value.dtype).removeprefix("torch."), list(value.shape)]}
    raise TypeError(f"stages send each other plain values and tensors, not {type(value).__name__}")


def _value(plain: object, parts: _Parts) -> object:
    if isinstance(plain, list):
        return [_value(item, parts) for item in plain]
    if not isinstance(plain, dict):
        return plain
    ((kind, given),) = plain.items()
    match kind:
        case "tuple":
            return tuple(_value(item, parts) for item in given)
        case "dict":
            return {_value(key, parts): _value(item, parts) for key, item in given}
        case "bytes":
            return parts.take(given)
        case "tensor":
            return _tensor(*given, parts=parts)
    raise ValueError(f"unknown kind of value {kind!r}")


def _tensor(name: str, shape: list[int], *, parts: _Parts) -> Tensor:
    dtype = _DTYPES[name]
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"{shape!r} is not a shape")
    data = parts.take(prod(shape) * dtype.itemsize)
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape) if data else torch.empty(shape, dtype=dtype)

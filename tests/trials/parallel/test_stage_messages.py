"""Messages between stages are decoded to what was encoded; other bytes are refused, and nothing in them is executed."""

import math
import pickle
import random
from dataclasses import dataclass

import pytest
import torch

from nmlab.trials.parallel.stage_messages import MessageError, decode, encode

VALUES = [
    None,
    True,
    -(2**70),
    0.1,
    5e-324,
    math.inf,
    "täxt \ud800 \0",
    b"\0\xff",
    [],
    [(), (1, [2, (3,)])],
    {"a": 1, 2: ("b", None), ("c", 3): {"tuple": 1}},
    {"dict": [["a", 1]]},
]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_plain_values(value):
    decoded = decode(encode(value))
    assert decoded == value
    assert type(decoded) is type(value)


def test_not_a_number_and_the_negative_zero():
    nan, zero = decode(encode([math.nan, -0.0]))
    assert math.isnan(nan)
    assert math.copysign(1, zero) == -1


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3, 5)])
def test_tensors(dtype, shape):
    given = (torch.randn(shape) * 3).to(dtype)
    decoded = decode(encode({"a": given, "b": [given.flatten()]}))
    assert decoded["a"].dtype == dtype
    assert decoded["a"].shape == given.shape
    assert torch.equal(decoded["a"], given)
    assert torch.equal(decoded["b"][0], given.flatten())


def test_a_transposed_tensor():
    given = torch.arange(6.0).reshape(2, 3).t()
    assert torch.equal(decode(encode(given)), given)


@dataclass
class Other:
    """A value of a type that messages cannot carry."""

    value: int = 0


@pytest.mark.parametrize("value", [Other(), {1, 2}, object, torch.zeros(2, dtype=torch.complex64)], ids=str)
def test_what_is_neither_plain_nor_a_tensor_is_not_sent(value):
    with pytest.raises(TypeError, match="plain values and tensors, not"):
        encode([value])


class Runs:
    """An object whose pickle would execute a call when it is loaded."""

    def __reduce__(self):
        return (pytest.fail, ("executed",))


def header(text):
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pickle.dumps(Runs()),
        header(pickle.dumps(Runs())),
        header(b"{}"),
        header(b'{"a":1,"b":2}'),
        header(b'{"object":1}'),
        header(b'{"bytes":5}'),
        header(b'{"bytes":-1}'),
        header(b'{"bytes":true}'),
        header(b'{"tensor":["float32",[2]]}') + b"1234",
        header(b'{"tensor":["float32",[-1]]}'),
        header(b'{"tensor":["float32",[1000000000000]]}'),
        header(b'{"tensor":["object",[1]]}'),
        header(b'{"tensor":1}'),
        header(b'{"dict":[[[],1]]}'),
        header(b"1") + b"more",
        header(b"[" * 100_000),
    ],
    ids=lambda data: repr(data)[:30],
)
def test_other_bytes_are_refused(data):
    with pytest.raises(MessageError, match="what another stage sent cannot be read"):
        decode(data)


def test_damaged_bytes_are_refused_or_are_plain_values():
    draw, whole = random.Random(0), encode({"loss": 1.5, "bits": torch.arange(8), "names": ("a", "b"), "raw": b"xyz"})
    for length in range(len(whole)):
        with pytest.raises(MessageError):
            decode(whole[:length])
    for _ in range(300):
        flipped = bytearray(whole)
        flipped[draw.randrange(len(whole))] ^= 1 << draw.randrange(8)
        try:
            decode(bytes(flipped))
        except MessageError:
            continue

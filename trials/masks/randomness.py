"""Random numbers that belong to what they are for, not to who draws them.

A draw is keyed by names and numbers such as (trial seed, step, layer, mask index). Philox is a counter-based
generator, so any process that knows the key draws the same numbers: after a restart, on another shard, or on another
replica. torch's own CPU generator would not do: it keeps 32 bits of a seed, and the keys of a long trial would collide.
"""

import hashlib

import numpy as np


def key_bits(*key: int | str) -> int:
    """Return 128 bits that depend on every part of ``key`` and on where each part ends."""
    text = "\x1f".join(str(part) for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def keyed_generator(*key: int | str) -> np.random.Generator:
    """Return a generator that every holder of ``key`` starts in the same state."""
    return np.random.Generator(np.random.Philox(key=key_bits(*key)))

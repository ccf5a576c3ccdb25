"""Random numbers that depend on a key, not on the process that draws them.

A draw is keyed by names and numbers such as (trial seed, step, layer, mask index). Philox is a counter-based
generator, so any process that knows the key draws the same numbers: after a restart, on another pipeline stage or on
another replica. torch's CPU generator keeps 32 bits of a seed, so that the keys of a long trial would collide.

The draws of a step are keyed in one place of each engine, always by (seed, step, layer name, mask index):
`LinearEngine._generators`, `event.streams.Streams` and `triton.tables.LayerTables`; noise of the methods that learn by
gradient in `engines.noise`.
"""

import hashlib

import numpy as np


def key_bits(*key: int | str) -> int:
    """Return 128 bits that depend on every part of ``key`` and on the boundaries of the parts."""
    text = "\x1f".join(str(part) for part in key)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little")


def keyed_generator(*key: int | str) -> np.random.Generator:
    """Return a generator that every holder of ``key`` starts in the same state."""
    return np.random.Generator(np.random.Philox(key=key_bits(*key)))

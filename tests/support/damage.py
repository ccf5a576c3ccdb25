"""Damage to a file: cut at every byte, and one bit turned over here and there."""

import random

FLIPS = 200


def truncations(content, *, every=1):
    """Yield a file's beginnings, each with a name."""
    for length in range(0, len(content), every):
        yield f"cut to {length} bytes", content[:length]


def flips(content, *, count=FLIPS, seed=0):
    """Yield a file with one bit turned over, each with a name."""
    draw = random.Random(seed)
    for _ in range(count):
        position, bit = draw.randrange(len(content)), draw.randrange(8)
        damaged = bytearray(content)
        damaged[position] ^= 1 << bit
        yield f"bit {bit} of byte {position}", bytes(damaged)


def check_damage(path, *, read, same, every=1, flips_too=FLIPS):
    """Damage a file in every way; each time it is read as it was, or refused in one line that names it.

    Args:
        path: a file that ``read()`` reads; it is as it was in the end.
        read: returns what the file says, or raises.
        same: says whether what was read is what an undamaged file (or one that a crash cut off) may say.
    """
    content, refused = path.read_bytes(), 0
    try:
        for name, damaged in [*truncations(content, every=every), *flips(content, count=flips_too)]:
            path.write_bytes(damaged)
            found, said = _read(read)
            if said is None:
                assert same(found), f"{name}: read as something else in silence"
            else:
                assert path.name in said, f"{name}: {said}"
                assert "\n" not in said, f"{name}: {said}"
                refused += 1
    finally:
        path.write_bytes(content)
    assert refused, "no damage was noticed"


def _read(read):
    """Return what was read, and what was said instead."""
    try:
        return read(), None
    except (ValueError, OSError) as error:
        return None, str(error)

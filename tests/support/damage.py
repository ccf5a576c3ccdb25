"""Damage to a file: cut at every byte, and single bits flipped."""

import random

FLIPS = 200


def truncations(content, *, every=1):
    """Yield a file cut to each length, each with a name."""
    for length in range(0, len(content), every):
        yield f"cut to {length} bytes", content[:length]


def flips(content, *, count=FLIPS, seed=0):
    """Yield copies of a file with one random bit flipped, each with a name."""
    draw = random.Random(seed)
    for _ in range(count):
        position, bit = draw.randrange(len(content)), draw.randrange(8)
        damaged = bytearray(content)
        damaged[position] ^= 1 << bit
        yield f"bit {bit} of byte {position}", bytes(damaged)


def check_damage(path, *, read, same, every=1, flips_too=FLIPS):
    """Damage a file in every way; each time it is read as it was, or refused in one line that names it.

    Args:
        path: a file that ``read()`` reads; it is restored in the end.
        read: returns the file's content, or raises.
        same: returns whether what was read may come from an undamaged file (or one that a crash cut off).
    """
    content, refused = path.read_bytes(), 0
    try:
        for name, damaged in [*truncations(content, every=every), *flips(content, count=flips_too)]:
            path.write_bytes(damaged)
            found, error = _read(read)
            if error is None:
                assert same(found), f"{name}: read as something else in silence"
            else:
                assert path.name in error, f"{name}: {error}"
                assert "\n" not in error, f"{name}: {error}"
                refused += 1
    finally:
        path.write_bytes(content)
    assert refused, "no damage was noticed"


def _read(read):
    """Return what was read and None, or None and the error."""
    try:
        return read(), None
    except (ValueError, OSError) as error:
        return None, str(error)

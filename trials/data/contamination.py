"""Find held-out text inside text that is read before it, by content: whole windows, whatever the files are called.

Evaluation text is looked for in calibration and validation text, validation text in calibration text (`preflight`).

Runs of whitespace count as one space. A window is found where each of its passages (its part of one document) occurs in
the calibration text, at any offset and across the borders of documents there.

The search is that of Rabin and Karp: a hash of the first bytes of every passage is looked up at every place of the
calibration text, and what agrees is compared byte by byte. It takes about ten seconds for 100 MB, and memory for a
block of the text at a time beside the text itself.

Source: R. M. Karp and M. O. Rabin, "Efficient randomized pattern-matching algorithms", 1987.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

Passages = Sequence[str]
"""The text of a window, a part for each document that it reaches into."""

_BLOCK = 2**21  # bytes of calibration text that are hashed at once
_LENGTHS = (64, 32, 16, 8)  # bytes that are hashed; a passage is looked up by the most that it has
_SHORTEST = _LENGTHS[-1]
# Less, such as a heading, occurs elsewhere by chance. The GPT-4 report looks for 50 characters too.
_EVIDENCE = 50
_FEW = 8  # candidates of one passage in one block that are compared one by one
_FACTOR = 0x9E3779B97F4A7C15
_BITS = 22  # of the table that rules most places out before they are looked up
_CHARACTERS = 2**20


class Contamination(NamedTuple):
    """The number of windows that were searched for, and the numbers of those found, ascending."""

    windows: int
    found: tuple[int, ...]

    @property
    def share(self) -> float:
        """The share of the windows that were found, 0 where there is none to look for."""
        return len(self.found) / self.windows if self.windows else 0.0


def contamination(windows: Iterable[Passages], *, calibration: Iterable[str]) -> Contamination:
    """Search for every window of a held-out text in a text that is read before it.

    Passages of fewer than 8 bytes are not searched for, nor are windows without a longer one. A run of consecutive
    windows that are found counts only where it has at least 50 bytes.

    Args:
        windows: the passages of each window of the held-out text: its part of each document.
        calibration: the documents that trials learn from.
    """
    wanted = {number: pieces for number, passages in enumerate(windows) if (pieces := _telling(passages))}
    there = _occurring({piece for pieces in wanted.values() for piece in pieces}, text=normalised(calibration))
    runs = groupby(wanted.items(), key=lambda item: all(piece in there for piece in item[1]))
    found = [list(run) for is_there, run in runs if is_there]
    return Contamination(len(wanted), tuple(number for run in found if _is_evidence(run) for number, _ in run))


def _is_evidence(run: Sequence[tuple[int, Sequence[bytes]]]) -> bool:
    return sum(len(piece) for _, pieces in run for piece in pieces) >= _EVIDENCE


def normalised(documents: Iterable[str]) -> bytes:
    """Return all documents as UTF-8, joined, with one space for every run of whitespace."""
    return b" ".join(" ".join(words).encode() for words in (part.split() for part in _parts(documents)) if words)


def _parts(documents: Iterable[str]) -> Iterator[str]:
    """Yield the documents in parts of about a million characters, cut at spaces: splitting takes much memory."""
    for document in documents:
        start = 0
        while start < len(document):
            stop = document.find(" ", start + _CHARACTERS)
            stop = len(document) if stop < 0 else stop
            yield document[start:stop]
            start = stop


def _telling(passages: Passages) -> tuple[bytes, ...]:
    pieces = (normalised([passage]) for passage in passages)
    return tuple(piece for piece in pieces if len(piece) >= _SHORTEST)


def _occurring(pieces: set[bytes], *, text: bytes) -> set[bytes]:
    """Return those of the pieces that occur in the text."""
    lookups = {length: _Lookup(length, _of_length(pieces, length)) for length in _LENGTHS}
    longest, there = max(map(len, pieces), default=0), set[bytes]()
    for start in range(0, len(text), _BLOCK):
        hashes = _hashes(text[start : start + _BLOCK + _LENGTHS[0] - 1])
        for length, lookup in lookups.items():
            there |= lookup.found(hashes[length][:_BLOCK], text=text[start : start + _BLOCK + longest - 1])
    return there


def _of_length(pieces: set[bytes], length: int) -> list[bytes]:
    """Return the pieces that are looked up by so many bytes."""
    longer = 2 * length if length != _LENGTHS[0] else None
    return [piece for piece in pieces if len(piece) >= length and (longer is None or len(piece) < longer)]


class _Lookup:
    """Finds pieces by the hash of their first ``length`` bytes."""

    def __init__(self, length: int, pieces: Sequence[bytes]) -> None:
        self._by_hash: dict[int, list[bytes]] = {}
        for piece in pieces:
            self._by_hash.setdefault(int(_hashes(piece[:length])[length][0]), []).append(piece)
        self._sorted = np.array(sorted(self._by_hash), dtype=np.uint64)
        self._table = np.zeros(2**_BITS, dtype=bool)
        self._table[self._sorted >> np.uint64(64 - _BITS)] = True

    def found(self, hashes: np.ndarray, *, text: bytes) -> set[bytes]:
        """Return the pieces that begin at one of the hashed places, and stop searching for them."""
        if not self._by_hash:
            return set()
        places = np.flatnonzero(self._table[hashes >> np.uint64(64 - _BITS)])
        places = places[np.isin(hashes[places], self._sorted)]
        places = places[np.argsort(hashes[places], kind="stable")]
        values, begins = np.unique(hashes[places], return_index=True)
        found: set[bytes] = set()
        for value, here in zip(values.tolist(), np.split(places, begins[1:]), strict=False):
            found |= {piece for piece in self._by_hash.get(value, ()) if _begins(piece, text, here.tolist())}
        if found:
            self._drop(found)
        return found

    def _drop(self, found: set[bytes]) -> None:
        """Remove found pieces; their hashes stay in the table, which only costs a lookup in ``_by_hash``."""
        for value, pieces in list(self._by_hash.items()):
            left = [piece for piece in pieces if piece not in found]
            if left:
                self._by_hash[value] = left
            else:
                del self._by_hash[value]


def _begins(piece: bytes, text: bytes, places: Sequence[int]) -> bool:
    """Return whether a piece is at one of the places; where they are many, searching the block is faster."""
    if len(places) > _FEW:
        return piece in text
    return any(text.startswith(piece, place) for place in places)


def _hashes(raw: bytes) -> Mapping[int, np.ndarray]:
    """Return by length the hash of that many bytes from each place on, modulo 2^64; none where fewer are left.

    The hash of 2k bytes is that of the first k times a power of the factor, plus that of the second k.
    """
    hashes: dict[int, np.ndarray] = {}
    values = np.frombuffer(raw, dtype=np.uint8).astype(np.uint64) + np.uint64(1)
    length, power = 1, _FACTOR
    while length < _LENGTHS[0]:
        values = values[:-length] * np.uint64(power) + values[length:]
        length, power = 2 * length, power * power % 2**64
        hashes[length] = values
    return hashes

"""How long the sequences of a new study are, and how many of them it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_LENGTHS = (512, 256, 128, 64, 32)
_WANTED = {"calibration": 128, "validation": 64, "evaluation": 64}
"""Sequences of each text for which a longer length is taken."""
_FEWEST = {"calibration": 16, "validation": 16, "evaluation": 16}
"""Sequences of each text without which no study is written."""
_MOST_SAMPLES, _MOST_BATCH, _BATCH_TOKENS = 512, 32, 4_096
_MOST_WINDOWS = {"validation": 128, "evaluation": 512}


@dataclass(frozen=True)
class Sizes:
    """The sizes of the texts, each with its reason.

    Attributes:
        length: tokens of a sequence and of a window.
        samples: calibration sequences.
        batch: sequences of a minibatch.
        windows: of validation and evaluation text.
        reasons: by the name of the setting.
    """

    length: int
    samples: int
    batch: int
    windows: Mapping[str, int]
    reasons: Mapping[str, str]


def fitting_sizes(tokens: Mapping[str, int], *, context: int | None, sources: Mapping[str, str]) -> Sizes:
    """Return the sizes for texts with so many tokens.

    Args:
        tokens: of each text.
        context: the most tokens that the model reads at once; None if nothing limits them.
        sources: of the texts, for messages.

    Raises ``ValueError`` with one line for a model that reads too few tokens, and a text that is too short.
    """
    read = [length for length in _LENGTHS if context is None or length <= context]
    if not read:
        raise ValueError(f"model: it reads {context} tokens at once; expected {_LENGTHS[-1]} or more")
    wanted = [length for length in read if _enough(tokens, length, _WANTED)]
    fewest = [length for length in read if _enough(tokens, length, _FEWEST)]
    if not fewest:
        raise ValueError(_too_short(tokens, sources))
    length = (wanted or fewest[-1:])[0]
    limit = "any number of tokens" if context is None else f"{context:,} tokens at once"
    available = {name: (count - 1) // length for name, count in tokens.items()}
    samples = min(_MOST_SAMPLES, available["calibration"])
    batch = max(1, min(_MOST_BATCH, samples, _BATCH_TOKENS // length))
    windows = {name: min(most, available[name]) for name, most in _MOST_WINDOWS.items()}
    reasons = {
        "sequence_length": f"the longest of 512, 256, 128, 64, 32 that the model ({limit}) and the texts allow",
        "samples": _of(samples, available["calibration"], most="512, as in MaskPro's code"),
        "batch_size": "32, as in MaskPro, but no more than 4,096 tokens a step",
        "validation": _of(windows["validation"], available["validation"], most="128, since every trial reads them"),
        "evaluation": _of(windows["evaluation"], available["evaluation"], most="512; a test of two masks needs 10"),
    }
    return Sizes(length, samples, batch, windows, reasons)


def _enough(tokens: Mapping[str, int], length: int, wanted: Mapping[str, int]) -> bool:
    return all((tokens[name] - 1) // length >= count for name, count in wanted.items())


def _of(count: int, available: int, *, most: str) -> str:
    return f"{most}" if count < available else f"all that the text has, of at most {most}"


def _too_short(tokens: Mapping[str, int], sources: Mapping[str, str]) -> str:
    shortest = _LENGTHS[-1]
    name = min(tokens, key=lambda name: tokens[name])
    wanted = (_FEWEST[name] + 1) * shortest
    return (
        f"text {sources[name]!r}: {name} would have {tokens[name]:,} tokens; expected {wanted:,} or more for "
        f"{_FEWEST[name]} sequences of {shortest}; give a longer text, or one for each of calibration, validation and "
        "evaluation"
    )

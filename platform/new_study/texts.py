"""Three texts that do not overlap: one to learn from, one to choose configurations on, one to report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.data import TextSource, evaluation_windows
from nmlab.trials.data.folders import is_pattern
from nmlab.trials.data.formats import kind_of

SECTIONS = ("calibration", "validation", "evaluation")
SHARES = {"calibration": 80, "validation": 10, "evaluation": 10}
"""Percent of one text."""
_OF_TWO = {"calibration": 90, "validation": 10}
"""Percent of the first of two texts."""
_PIECE = 32
"""Tokens in which the length of a text is measured: the shortest sequences that a study is given."""


@dataclass(frozen=True)
class ThreeTexts:
    """The sources of the three texts, by section; each a mapping with ``source``, ``split`` and ``column``.

    ``how`` says in one line how they were made of what was given.
    """

    sections: Mapping[str, Mapping[str, str]]
    how: str

    def tokens(self, tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
        """Return the tokens of each text, at most, and 0 for one that is shorter than 32."""
        return {name: _tokens(name, given, tokenizer=tokenizer) for name, given in self.sections.items()}


def three_texts(texts: Sequence[str], *, column: str | None = None) -> ThreeTexts:
    """Return the three texts of a study, of one to three that were given.

    Raises ``SourceError`` for one that is cut already where it has to be cut.
    """
    if len(texts) == 1 and texts[0].startswith("builtin:"):
        sections = {name: {"source": texts[0]} for name in SECTIONS}
        return ThreeTexts(sections, "the corpus has a part for each, which share no document")
    if len(texts) == 3:
        parts = [{"source": text} for text in texts]
        return ThreeTexts(_with_column(SECTIONS, parts, column), "three texts, as given")
    cut = _cut(texts[0], SHARES if len(texts) == 1 else _OF_TWO)
    how = f"one text, cut into {' + '.join(f'{share} %' for share in SHARES.values())}"
    if len(texts) == 2:
        cut, how = [*cut, {"source": texts[1]}], "the first text, cut into 90 % + 10 %, and the second"
    return ThreeTexts(_with_column(SECTIONS, cut, column), how)


def _with_column(
    names: Sequence[str], parts: Sequence[Mapping[str, str]], column: str | None
) -> dict[str, Mapping[str, str]]:
    own = {} if column is None else {"column": column}
    return {name: {**part, **own} for name, part in zip(names, parts, strict=True)}


def _cut(text: str, shares: Mapping[str, int]) -> list[Mapping[str, str]]:
    """Return the parts of a text, from its beginning: a file or folder by characters, a hub id by its split."""
    if text.startswith("builtin:"):
        return [{"source": text}] * len(shares)
    if text.endswith("]") and not Path(text).expanduser().exists():
        raise SourceError(f"text {text!r}: expected a whole text, which is cut here; or three, for parts of your own")
    ends = [0]
    for share in shares.values():
        ends.append(ends[-1] + share)
    slices = [f"[{low}%:{high}%]" for low, high in pairwise(ends)]
    slices = [each.replace("[0%:", "[:").replace(":100%]", ":]") for each in slices]
    if _is_local(text):
        return [{"source": f"{text}{each}"} for each in slices]
    return [{"source": text, "split": f"train{each}"} for each in slices]


def _is_local(text: str) -> bool:
    """Return whether a text lies here, or was meant to: a hub id is none of these."""
    path = Path(text).expanduser()
    return path.exists() or is_pattern(text) or kind_of(path) is not None or text.startswith((".", "/", "~"))


def _tokens(name: str, given: Mapping[str, str], *, tokenizer: PreTrainedTokenizerBase) -> int:
    text = TextSource(given["source"], part=_part(name), split=given.get("split"), column=given.get("column"))
    try:
        return len(evaluation_windows(text, tokenizer=tokenizer, sequence_length=_PIECE)) * _PIECE
    except SourceError as error:
        if "is shorter than" in str(error):
            return 0
        raise


def _part(section: str) -> str:
    """Return the part of a built-in corpus that a section reads where validation takes one."""
    return "learning" if section == "calibration" else section

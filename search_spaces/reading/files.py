"""Read the text of a study's file, or say why it cannot be read, and which file was meant."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path

from nmlab.search_spaces.reading.problems import StudyError
from nmlab.trials.contract.near_files import file_hint
from nmlab.trials.contract.near_names import nearest

SUFFIXES = (".yaml", ".yml")
_MOST_LISTED = 3
_OTHER_ENCODINGS = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


def study_text(path: Path, *, packaged: Sequence[str]) -> str:
    """Return the text of a study's file, its line ends as "\\n".

    Raises StudyError with one line for a file that is missing, with the nearest file beside it or the nearest of the
    ``packaged`` studies, or is no text in UTF-8.
    """
    try:
        content = path.expanduser().read_bytes()
    except FileNotFoundError as error:
        raise StudyError([f"study file {str(path)!r}: not found{_meant(path, packaged)}"]) from error
    except IsADirectoryError as error:
        inside = sorted(each.name for each in path.expanduser().iterdir() if each.suffix in SUFFIXES)
        listed = f" in it: {', '.join(inside[:_MOST_LISTED])}" if inside else ""
        raise StudyError([f"study file {str(path)!r}: a folder; expected a file{listed}"]) from error
    except OSError as error:
        raise StudyError([f"study file {str(path)!r}: cannot be read: {error.strerror}"]) from error
    return _decoded(content, path=path).replace("\r\n", "\n").replace("\r", "\n")


def _meant(path: Path, packaged: Sequence[str]) -> str:
    beside = file_hint(path, suffixes=SUFFIXES)
    near = path.stem if path.stem in packaged else nearest(path.stem, packaged)
    if near and "did you mean" not in beside:
        return f"; did you mean the packaged study {near!r}?"
    return beside


def _decoded(content: bytes, *, path: Path) -> str:
    encoding = next((name for mark, name in _OTHER_ENCODINGS.items() if content.startswith(mark)), None)
    if encoding is not None:
        raise StudyError([f"{path}, line 1: the file is {encoding}; expected UTF-8 text, so save it as UTF-8"])
    if b"\0" in content:
        raise StudyError([f"{path}: a binary file; expected UTF-8 text, the YAML of a study"])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = 1 + content.count(b"\n", 0, error.start)
        problem = f"byte 0x{content[error.start]:02x} is not UTF-8; expected UTF-8 text, so save the file as UTF-8"
        raise StudyError([f"{path}, line {line}: {problem}"]) from error

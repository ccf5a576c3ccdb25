"""Read documents from a built-in corpus, files and folders here, or a `datasets` hub id."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.near_files import file_hint
from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.contract.sections import CalibrationSpec, HeldOutText, ValidationSpec
from nmlab.trials.data import python_docs, python_source
from nmlab.trials.data.folders import ChosenFiles, in_folder, is_pattern, matching
from nmlab.trials.data.formats import READABLE, column_values, documents_of, kind_of

_SLICE = re.compile(r"(?P<name>.+)\[(?:(?P<start>\d+)%)?:(?:(?P<stop>\d+)%)?\]")
# What `datasets` leaves where it saved a data set, and several splits of one.
_SAVED, _SAVED_SPLITS = "state.json", "dataset_dict.json"
_PACKED = (".zst", ".zip", ".lz4", ".7z", ".tar", ".tgz")


@dataclass(frozen=True)
class TextSource:
    """Where text comes from.

    ``source`` is ``builtin:python-docs``, ``builtin:python-code`` or ``builtin:python-comments``; a file (plain
    text, JSON lines, JSON, CSV, TSV, Parquet, Arrow); a folder of files of one kind, or one that `datasets` saved;
    a pattern such as ``corpus/**/*.jsonl``; or a hub id (``org/name``, ``org/name:configuration``, or
    ``org/name:folder/file``, with ``*`` for several files, of one that is too large to fetch whole). What lies here
    may be cut by characters, as in ``text.txt[:80%]`` and ``text.txt[80%:]``; hub ids are cut by their split, as in
    ``train[:80%]``. ``split`` applies to hub ids and saved data sets, ``column`` to all that has columns; ``part``
    picks the part of a built-in corpus, so that texts for different purposes never overlap.
    """

    source: str
    part: str
    split: str | None = None
    column: str | None = None

    @classmethod
    def of_calibration(cls, spec: CalibrationSpec) -> tuple[Self, ...]:
        """Return the text that a trial learns from, or the texts of its mixture."""
        own = spec.part or "calibration"
        return tuple(cls(part.source, part=own, split=part.split, column=part.column) for part in spec.parts)

    @classmethod
    def held_out(cls, spec: HeldOutText) -> Self:
        """Return the text of a section of held-out text; a neutral one is the evaluation part of a built-in corpus."""
        part = "validation" if isinstance(spec, ValidationSpec) else "evaluation"
        return cls(spec.source, part=part, split=spec.split, column=spec.column)


def read_documents(text: TextSource) -> list[str]:
    """Return the documents of a source, in order; raises ``SourceError`` with what to do where it cannot be read.

    Empty files and rows here hold no document; empty rows of a hub id are documents. A byte-order mark at the start of
    a document is not text.
    """
    if text.source.startswith("builtin:"):
        return _builtin(text)
    name, start, stop = _cut(text.source)
    path = Path(name).expanduser()
    here = path.exists() or is_pattern(name)
    documents = _between(_local(path, name, text), start, stop) if here else _hub(text)
    if not any(document.strip() for document in documents):
        raise SourceError(f"data {text.source!r} holds no text")
    return documents


def files_left_out(text: TextSource) -> tuple[str, ...]:
    """Return the README and licence files that lie in a source's folder and are not read with it."""
    name, _, _ = _cut(text.source)
    path = Path(name).expanduser()
    if text.source.startswith("builtin:") or _is_saved(path) or not (path.is_dir() or is_pattern(name)):
        return ()
    return tuple(str(file) for file in _chosen(path, name, text.source).left_out)


def documents_digest(documents: list[str]) -> str:
    """Return 16 hexadecimal digits over the documents and where each ends."""
    digest = hashlib.blake2b(digest_size=8)
    for document in documents:
        digest.update(document.encode() + b"\x00")
    return digest.hexdigest()


def _builtin(text: TextSource) -> list[str]:
    if text.source in python_source.SOURCES:
        return python_source.SOURCES[text.source](text.part)
    if text.source != "builtin:python-docs":
        known = ["builtin:python-docs", *python_source.SOURCES]
        raise SourceError(unknown_name(text.source, kind="data", known=known))
    return python_docs.documents(text.part)


def _cut(source: str) -> tuple[str, int, int]:
    """Return a source without its slice, and the slice in percent."""
    match = _SLICE.fullmatch(source)
    if match is None:
        return source, 0, 100
    name, start, stop = match["name"], int(match["start"] or 0), int(match["stop"] or 100)
    if not start < stop <= 100:
        raise SourceError(f"data {source!r}: expected a slice such as [:80%] or [80%:], from lower to higher")
    return name, start, stop


def _between(documents: list[str], start: int, stop: int) -> list[str]:
    """Return the part of the documents between two percentages of all their characters."""
    if (start, stop) == (0, 100):
        return [document for document in documents if document]
    total = sum(map(len, documents))
    low, high, position = total * start // 100, total * stop // 100, 0
    kept = []
    for document in documents:
        kept.append(document[max(0, low - position) : max(0, high - position)])
        position += len(document)
    return [document for document in kept if document]


def _local(path: Path, name: str, text: TextSource) -> list[str]:
    if _is_saved(path):
        return _saved(path, text)
    if text.split is not None:
        raise SourceError(
            f"data {text.source!r} lies here and has no split {text.split!r}; drop the split and name the file, "
            "or cut it as in FILE[:80%]"
        )
    column = text.column or "text"
    if path.is_file():
        return _file(path, text, column=column)
    if path.exists() and not path.is_dir():
        raise SourceError(f"data {text.source!r} is neither a file nor a folder")
    return [
        document for file in _chosen(path, name, text.source).files for document in documents_of(file, column=column)
    ]


def _file(path: Path, text: TextSource, *, column: str) -> list[str]:
    if kind_of(path) is None:
        hint = "; decompress it first" if path.suffix.lower() in _PACKED else ""
        expected = f"expected {', '.join(sorted(READABLE))} (also .gz, .bz2, .xz), a folder or a hub id"
        raise SourceError(f"data {text.source!r}: {expected}{hint}")
    return documents_of(path, column=column)


def _chosen(path: Path, name: str, source: str) -> ChosenFiles:
    return in_folder(path, source=source) if path.is_dir() else matching(name)


def _is_saved(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in (_SAVED, _SAVED_SPLITS))


def _saved(path: Path, text: TextSource) -> list[str]:
    """Read what `datasets` saved with ``save_to_disk``."""
    from datasets import load_from_disk  # slow to import, and few runs need it

    try:
        table = load_from_disk(str(path))
    except Exception as error:  # the builders raise many unrelated types
        raise SourceError(
            f"data folder {text.source!r} could not be read as a saved data set: {_reason(error)}"
        ) from error
    if (path / _SAVED_SPLITS).is_file():
        if text.split is None:
            raise SourceError(f"data folder {text.source!r} holds the splits {', '.join(table)}; choose one with split")
        if text.split not in table:
            raise SourceError(f"data {text.source!r}: {unknown_name(text.split, kind='split', known=table)}")
        table = table[text.split]
    elif text.split is not None and str(table.split) != text.split:
        raise SourceError(f"data {text.source!r} is the split {str(table.split)!r}, not {text.split!r}; drop the split")
    return _column(table, text)


def _hub(text: TextSource) -> list[str]:
    name = _cut(text.source)[0]
    file = Path(name.partition(":")[0])
    if text.source.startswith((".", "/", "~")) or kind_of(file) is not None or file.suffix.lower() in _PACKED:
        raise SourceError(f"data file {name!r} does not exist{file_hint(Path(name).expanduser())}")
    from datasets import load_dataset  # slow to import, and few runs need it

    name, _, part = text.source.partition(":")
    chosen = {"data_files": part} if "/" in part else {"name": part or None}
    try:
        table = load_dataset(name, **chosen, split=text.split or "train")
    except Exception as error:  # the Hugging Face hub, the cache and the builders raise many unrelated types
        raise SourceError(
            f"data {text.source!r} is not a file here and could not be fetched as a dataset ({_reason(error)}); "
            "check the id, split and network, or give a text or JSON-lines file"
        ) from error
    return _column(table, text)


def _column(table: Any, text: TextSource) -> list[str]:
    column = text.column or "text"
    if column not in table.column_names:
        raise SourceError(f"data {text.source!r}: " + unknown_name(column, kind="column", known=table.column_names))
    return list(column_values(table[column], column=column, where=f"data {text.source!r}"))


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__

"""Read documents from a built-in corpus, text files, JSON lines or a `datasets` hub id."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nmlab.trials.data import python_docs
from nmlab.trials.errors import SourceError
from nmlab.trials.names import unknown_name

_TEXT = {".txt", ".md", ".text"}
_LINES = {".jsonl", ".ndjson"}
_SLICE = re.compile(r"(?P<name>.+)\[(?:(?P<start>\d+)%)?:(?:(?P<stop>\d+)%)?\]")


@dataclass(frozen=True)
class TextSource:
    """Where text comes from.

    ``source`` is ``builtin:python-docs``, a text file, a folder of text files, a JSON-lines file, or a hub id
    (``org/name``, ``org/name:configuration``, or ``org/name:folder/file``, with ``*`` for several files, of one that
    is too large to fetch whole). A file or folder may be cut by characters, as in
    ``text.txt[:80%]`` and ``text.txt[80%:]``; hub ids are cut by their split, as in ``train[:80%]``. ``split`` and
    ``column`` apply to hub ids, ``column`` to JSON lines too; ``part`` picks the part of a built-in corpus, so that
    calibration and evaluation never share text.
    """

    source: str
    part: str
    split: str | None = None
    column: str | None = None


def read_documents(text: TextSource) -> list[str]:
    """Return the documents of a source, in order; raises ``SourceError`` with what to do where it cannot be read."""
    if text.source.startswith("builtin:"):
        return _builtin(text)
    name, start, stop = _cut(text.source)
    path = Path(name).expanduser()
    documents = _between(_local(path, text), start, stop) if path.exists() else _hub(text)
    if not any(document.strip() for document in documents):
        raise SourceError(f"data {text.source!r} holds no text")
    return documents


def documents_digest(documents: list[str]) -> str:
    """Return 16 hexadecimal digits over the documents and where each ends."""
    digest = hashlib.blake2b(digest_size=8)
    for document in documents:
        digest.update(document.encode() + b"\x00")
    return digest.hexdigest()


def overlap(first: TextSource, second: TextSource) -> bool:
    """Say whether two sources read some of the same text, as far as their names, splits and slices tell.

    The parts of a built-in corpus never overlap, whatever asks for them.
    """
    if first.source.startswith("builtin:"):
        return first == second
    (name, start, stop), (other, other_start, other_stop) = _cut(first.source), _cut(second.source)
    same = (
        Path(name).expanduser().resolve() == Path(other).expanduser().resolve()
        if Path(name).exists()
        else name == other
    )
    return same and first.split == second.split and start < other_stop and other_start < stop


def _builtin(text: TextSource) -> list[str]:
    if text.source != "builtin:python-docs":
        raise SourceError(unknown_name(text.source, kind="data", known=["builtin:python-docs"]))
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
    total = sum(map(len, documents))
    low, high, position = total * start // 100, total * stop // 100, 0
    kept = []
    for document in documents:
        kept.append(document[max(0, low - position) : max(0, high - position)])
        position += len(document)
    return [document for document in kept if document]


def _local(path: Path, text: TextSource) -> list[str]:
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in _TEXT)
        if not files:
            raise SourceError(f"data folder {text.source!r} holds no {', '.join(sorted(_TEXT))} file")
        return [_read_text(file) for file in files]
    if path.suffix in _LINES:
        return list(_json_lines(path, column=text.column or "text"))
    if path.suffix in _TEXT:
        return [_read_text(path)]
    raise SourceError(f"data {text.source!r}: expected {', '.join(sorted(_TEXT | _LINES))}, a folder or a hub id")


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"data {str(path)!r} could not be read as UTF-8 text: {error}") from error


def _json_lines(path: Path, *, column: str) -> Iterator[str]:
    # Not splitlines(): a JSON string may hold U+2028 and its like unescaped, and text from the web does.
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise SourceError(f"data {str(path)!r} line {number} is not JSON: {error.msg}") from error
        if not isinstance(record, dict) or not isinstance(record.get(column), str):
            keys = sorted(record) if isinstance(record, dict) else []
            raise SourceError(
                f"data {str(path)!r} line {number}: " + unknown_name(column, kind="text column", known=keys)
            )
        yield record[column]


def _hub(text: TextSource) -> list[str]:
    file = _cut(text.source)[0].partition(":")[0]
    if text.source.startswith((".", "/", "~")) or Path(file).suffix in _TEXT | _LINES:
        raise SourceError(f"data file {_cut(text.source)[0]!r} does not exist")
    from datasets import load_dataset  # slow to import, and few runs need it

    name, _, part = text.source.partition(":")
    chosen = {"data_files": part} if "/" in part else {"name": part or None}
    try:
        table = load_dataset(name, **chosen, split=text.split or "train")
    except Exception as error:  # the hub, the cache and the builders raise many unrelated types
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SourceError(
            f"data {text.source!r} is not a file here and could not be fetched as a dataset ({reason}); "
            "check the id, split and network, or give a text or JSON-lines file"
        ) from error
    column = text.column or "text"
    if column not in table.column_names:
        raise SourceError(f"data {text.source!r}: " + unknown_name(column, kind="column", known=table.column_names))
    return [str(value) for value in table[column]]

"""Documents from files: plain text, JSON lines, JSON, CSV, Parquet and Arrow. Every row is a document.

The kind of a file follows from its extension, in any case, before ``.gz``, ``.bz2`` or ``.xz``.
"""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.data.text_values import BYTE_ORDER_MARK, COMPRESSED, described, read_text, text_value


class Kind(NamedTuple):
    """The format of a file (a name for messages) and its compression, "" where it has none."""

    name: str
    compression: str = ""

    def __str__(self) -> str:
        return f"{self.name} in {self.compression}" if self.compression else self.name


_KINDS = {
    ".txt": "plain text",
    ".md": "plain text",
    ".text": "plain text",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".json": "JSON",
    ".csv": "CSV",
    ".tsv": "TSV",
    ".parquet": "Parquet",
    ".arrow": "Arrow",
}
_TABLES = ("Parquet", "Arrow")  # compressed within; another layer around them is not read
READABLE = tuple(_KINDS)

_Column: TypeAlias = tuple[list[str], list[object] | None]
"""The names of a table's columns, and the values of the one asked for, or None where it has no such."""


def kind_of(path: Path) -> Kind | None:
    """Return the kind of a file by its name, or None where it is not a kind that is read."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSED else ""
    name = _KINDS.get(suffixes[-1]) if suffixes else None
    if name is None or (compression and name in _TABLES):
        return None
    return Kind(name, compression)


def documents_of(path: Path, *, column: str) -> list[str]:
    """Return the documents of one file, in order.

    Raises ``SourceError`` with the file and the line or row for what is no text, or cannot be read.
    """
    kind = kind_of(path)
    if kind is None:
        raise SourceError(f"data {str(path)!r}: expected a file that ends with {', '.join(READABLE)}")
    readers: dict[str, Callable[[], Iterable[str]]] = {
        "plain text": lambda: [read_text(path)],
        "JSON lines": lambda: _json_lines(read_text(path), path=path, column=column),
        "JSON": lambda: _json(read_text(path), path=path, column=column),
        "CSV": lambda: _separated(path, column=column, delimiter=","),
        "TSV": lambda: _separated(path, column=column, delimiter="\t"),
        "Parquet": lambda: _table(path, column=column, read=_read_parquet),
        "Arrow": lambda: _table(path, column=column, read=_read_arrow),
    }
    return list(readers[kind.name]())


def column_values(rows: Iterable[object], *, column: str, where: str) -> Iterator[str]:
    """Yield the values of a column that is known to be there, checked to be text; rows are counted from 1."""
    for number, value in enumerate(rows, start=1):
        yield text_value(value, where=f"{where} row {number}", column=column)


def _json_lines(text: str, *, path: Path, column: str) -> Iterator[str]:
    # Not splitlines(): a JSON string may hold U+2028 and its like unescaped, and text from the web does.
    for number, line in enumerate(text.split("\n"), start=1):
        where = f"data {str(path)!r} line {number}"
        line = line.removeprefix(BYTE_ORDER_MARK)  # of a file that was put behind another
        if line.strip():
            yield _row_text(_parsed(line, where=where), where=where, column=column)


def _json(text: str, *, path: Path, column: str) -> Iterator[str]:
    """Yield the rows of a list of objects, or of JSON lines, which some ``.json`` files hold."""
    if not text.lstrip().startswith("["):
        yield from _json_lines(text, path=path, column=column)
        return
    name = f"data {str(path)!r}"
    rows = _parsed(text, where=name)
    assert isinstance(rows, list), "text that begins with a bracket is a list, or no JSON"
    for number, row in enumerate(rows, start=1):
        yield _row_text(row, where=f"{name} row {number}", column=column)


def _parsed(text: str, *, where: str) -> object:
    try:
        value: object = json.loads(text)
    except json.JSONDecodeError as error:
        raise SourceError(f"{where} is not JSON: {error.msg}") from error
    except RecursionError as error:
        raise SourceError(f"{where} is nested too deeply to be read") from error
    except ValueError as error:  # Python reads no number of thousands of digits
        raise SourceError(f"{where} holds a number of too many digits") from error
    return value


def _row_text(row: object, *, where: str, column: str) -> str:
    if not isinstance(row, dict):
        raise SourceError(f'{where} holds {described(row)}, expected an object such as {{"{column}": "..."}}')
    return text_value(_field(row, where=where, column=column), where=where, column=column)


def _field(row: Mapping[str, object], *, where: str, column: str) -> object:
    if column not in row:
        raise SourceError(f"{where}: {unknown_name(column, kind='text column', known=row)}")
    return row[column]


def _separated(path: Path, *, column: str, delimiter: str) -> Iterator[str]:
    """Yield a column of a table whose first line names the columns; every field is text, "NA" and "3" too."""
    csv.field_size_limit(sys.maxsize)  # a field is a whole document
    lines = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    name, number = f"data {str(path)!r}", 0
    try:
        header = next(lines, [])
        place = list(header).index(column) if column in header else None
        if place is None:
            raise SourceError(f"{name}: {unknown_name(column, kind='text column', known=header)}")
        for number, row in enumerate((row for row in lines if row), start=1):
            if len(row) != len(header):
                raise SourceError(f"{name} row {number} has {len(row)} fields, expected {len(header)} as in its header")
            yield text_value(row[place], where=f"{name} row {number}", column=column)
    except csv.Error as error:
        raise SourceError(f"{name} could not be read after row {number}: {error}") from error


def _table(path: Path, *, column: str, read: Callable[[Path, str], _Column]) -> Iterator[str]:
    """Yield a column of an Arrow table that ``read`` takes from a file."""
    name = f"data {str(path)!r}"
    try:
        names, values = read(path, column)
    except (OSError, ValueError, UnicodeDecodeError) as error:  # Arrow's own errors are among these
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SourceError(f"{name} could not be read: {reason}") from error
    if values is None:
        raise SourceError(f"{name}: {unknown_name(column, kind='text column', known=names)}")
    yield from column_values(values, column=column, where=name)


def _read_parquet(path: Path, column: str) -> _Column:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        names = list(file.schema_arrow.names)
        return names, file.read([column]).column(column).to_pylist() if column in names else None


def _read_arrow(path: Path, column: str) -> _Column:
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        try:
            table = pa.ipc.open_stream(source).read_all()
        except pa.ArrowInvalid:  # the other of Arrow's two layouts
            table = pa.ipc.open_file(source).read_all()
        names = list(table.column_names)
        return names, table.column(column).to_pylist() if column in names else None

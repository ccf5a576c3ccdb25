"""JSON with a checksum: objects in a file, and lines of a file that is appended to.

The checksum is the last member of the object, so that every JSON reader can still read it. A file has a format number;
one of a newer format is refused with the version of nmlab that wrote it.
"""

import json
import re
import zlib
from collections.abc import Collection, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from nmlab.trials.files.atomic_file import atomic_file

Record = dict[str, Any]

_CHECKSUM = re.compile(rb',\s*"crc":\s*"([0-9a-f]{8})"\s*\}\s*\Z')
_OWN = ("format", "nmlab")


class DamagedFileError(ValueError):
    """A file is not as nmlab wrote it; the message names the file."""


class NewerFormatError(ValueError):
    """A file was written by a newer nmlab, in a format that this one cannot read."""


def checked_line(record: Mapping[str, object], *, compact: bool = False) -> bytes:
    """Return a record as one line of JSON, without the line's end, with its checksum as the last member."""
    body = json.dumps(record, separators=(",", ":") if compact else None).encode()
    comma, colon = (b",", b":") if compact else (b", ", b": ")
    return body[:-1] + comma + b'"crc"' + colon + b'"' + _checksum(body) + b'"}'


def checksum_of(record: Mapping[str, object]) -> str:
    """Return the checksum of a record that another library will write compactly with ``crc`` as its last member."""
    return _checksum(json.dumps(record, separators=(",", ":")).encode()).decode()


def has_checksum(line: bytes) -> bool:
    """Return whether a line ends in a checksum, right or wrong."""
    return _CHECKSUM.search(line) is not None


def read_line(line: bytes, *, needs_checksum: bool) -> Record | None:
    """Return the record of a line; None for a truncated line, where checksums are not required.

    Raises ``ValueError`` saying what is wrong with it.
    """
    found = _CHECKSUM.search(line)
    if found is not None:
        body = line[: found.start()] + b"}"
        if _checksum(body) != found[1]:
            raise ValueError("its checksum does not match")
        line = body
    elif needs_checksum:
        raise ValueError("it has no checksum")
    try:
        record = json.loads(line.decode())
    except UnicodeDecodeError as error:
        raise ValueError("it is not text") from error
    except json.JSONDecodeError as error:
        if error.pos >= len(error.doc.rstrip()) and not needs_checksum:
            return None
        raise ValueError("it is not JSON") from error
    except RecursionError as error:
        raise ValueError("it is not JSON of ours") from error
    if not isinstance(record, dict):
        raise ValueError("it is not an object")
    return record


def write_checked(path: Path, record: Mapping[str, object], *, format: int, is_for_people: bool = True) -> None:
    """Write an object to a file atomically, with the format's number, nmlab's version and a checksum.

    With ``is_for_people`` the file has a line for each member; without, writing is several times faster.
    """
    body = {"format": format, "nmlab": nmlab_version(), **record}
    text = json.dumps(body, indent=2 if is_for_people else None).encode()[:-1].rstrip()
    with atomic_file(path) as partial:
        partial.write_bytes(text + b', "crc": "' + _checksum(text) + b'"}\n')


def read_checked(path: Path, *, kind: str, format: int, before: Collection[str]) -> Record:
    """Return the object of a file, without checksum, format and version.

    Args:
        path: the file.
        kind: what the file is, for messages.
        format: the newest format that can be read.
        before: the members that such a file had before it had a checksum; one that has others is damaged.

    Raises:
        OSError: it cannot be read.
        NewerFormatError: it was written by a newer nmlab.
        DamagedFileError: it is not what was written.
    """
    content = path.read_bytes()
    found = _CHECKSUM.search(content)
    if found is not None and _checksum(content[: found.start()]) != found[1]:
        raise DamagedFileError(f"{kind} {path} is damaged: its checksum does not match")
    try:
        record = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{kind} {path} is damaged: it is not JSON") from error
    if not isinstance(record, dict) or (found is None and not set(record) <= set(before)):
        raise DamagedFileError(f"{kind} {path} is damaged: it has no checksum")
    check_format(record, kind=kind, path=path, format=format)
    return {name: value for name, value in record.items() if name not in (*_OWN, "crc")}


def check_format(record: Mapping[str, Any], *, kind: str, path: Path, format: int) -> None:
    """Raise ``NewerFormatError`` where a record says that it has a newer format than can be read."""
    found = record.get("format", 0)
    if found > format:
        raise NewerFormatError(
            f"{kind} {path} has format {found}, and nmlab {nmlab_version()} reads up to {format}; it was written by "
            f"nmlab {record.get('nmlab', 'of an unknown version')}: use that version or a later one"
        )


@cache  # to read the metadata of a distribution takes milliseconds
def nmlab_version() -> str:
    """Return the installed version of nmlab."""
    try:
        return version("nmlab")
    except PackageNotFoundError:  # the folders are on the path, and the package is not installed
        return "0"


def _checksum(body: bytes) -> bytes:
    return f"{zlib.crc32(body):08x}".encode()

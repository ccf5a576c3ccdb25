"""Size and digest of files, with which another process checks that it reads what was written."""

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypedDict


class FileDescription(TypedDict):
    """Size in bytes of a file, and its blake2b digest, 32 hexadecimal digits."""

    bytes: int
    digest: str


def describe_files(folder: Path, names: Iterable[str]) -> dict[str, FileDescription]:
    """Return size and digest of files by name; raises ``OSError``."""
    return {name: _describe(folder / name) for name in names}


def unreadable_reason(folder: Path, files: Mapping[str, FileDescription]) -> str:
    """Return which of the described files is missing or differs, "" where all are as described."""
    with suppress(OSError):
        list(folder.iterdir())  # makes a network file system look again for names that it did not find before
    for name, expected in files.items():
        try:
            found = _describe(folder / name)
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        if found["bytes"] != expected["bytes"]:
            return f"{name} has {found['bytes']} bytes, expected {expected['bytes']}"
        if found != expected:
            return f"{name} is not what was written (its digest differs)"
    return ""


def _describe(path: Path) -> FileDescription:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
        return {"bytes": file.tell(), "digest": digest.hexdigest()}

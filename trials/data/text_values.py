"""What counts as text: values of a column, and the bytes of a file.

Everything else is refused with its place and its type, because a mask learned from "None" or "[{'role': ...}]" looks
like any other mask.
"""

import bz2
import codecs
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nmlab.trials.contract.errors import SourceError

BYTE_ORDER_MARK = "\ufeff"
_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
COMPRESSED = tuple(_OPENERS)
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_OTHER_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


def text_value(value: object, *, where: str, column: str) -> str:
    """Return a column's value where it is text, without a leading byte-order mark.

    Raises ``SourceError`` with ``where`` (file or data set, and row) and the type of what is no text, and for half a
    surrogate pair, which JSON can spell and no encoding can hold.
    """
    if not isinstance(value, str):
        raise SourceError(f"{where}: column {column!r} holds {described(value)}, expected text")
    check_encodable(value, where=f"{where}: column {column!r}")
    return value.removeprefix(BYTE_ORDER_MARK)


def check_encodable(text: str, *, where: str) -> None:
    """Raise ``SourceError`` for text that holds half a surrogate pair, such as JSON's ``"\\ud800"`` alone."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = f"\\u{ord(text[error.start]):04x}"
        raise SourceError(
            f"{where} holds half a surrogate pair, {code}, at character {error.start + 1}; no text contains that"
        ) from error


def described(value: object) -> str:
    """Return what a parsed value is, in the words of JSON: "null", "the number 3", "a list of 2"."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list | tuple):
        chat = bool(value) and all(isinstance(message, dict) for message in value)
        return f"a chat or list of {len(value)} objects" if chat else f"a list of {len(value)}"
    if isinstance(value, dict):
        return f"an object with the keys {', '.join(map(str, value))}" if value else "an empty object"
    return f"a value of type {type(value).__name__}"


def read_text(path: Path, *, kind: str = "data") -> str:
    """Return the UTF-8 text of a file, which may be compressed (gz, bz2, xz); every line ends with a line feed.

    A byte-order mark at the beginning is not part of the text. ``kind`` begins the messages. Raises ``SourceError``
    with the file and the place for what is no UTF-8, holds a zero byte, or cannot be read.
    """
    where = f"{kind} {str(path)!r}"
    raw = _read_bytes(path, where=where)
    for mark, encoding in _OTHER_ENCODINGS:
        if raw.startswith(mark):
            raise SourceError(f"{where} is {encoding}, expected UTF-8; convert it: iconv -f {encoding} -t UTF-8")
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if (zero := raw.find(b"\x00")) >= 0:
        raise SourceError(f"{where} holds a zero byte in line {_line(raw, zero)}; expected UTF-8 text, is it binary?")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        place = f"byte 0x{raw[error.start]:02x} in line {_line(raw, error.start)}, at byte {error.start} of the text"
        raise SourceError(f"{where} could not be read as UTF-8 text: {place} ({error.reason})") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_bytes(path: Path, *, where: str) -> bytes:
    opener = _OPENERS.get(path.suffix.lower(), open)
    try:
        with opener(path, "rb") as file:
            return bytes(file.read())
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
        raise SourceError(f"{where} could not be read: {reason}") from error


def _line(raw: bytes, place: int) -> int:
    return raw.count(b"\n", 0, place) + 1

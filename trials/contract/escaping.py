"""Escape text from users and other packages for terminals, Markdown, JSON, CSV and links."""

import re
import unicodedata
from urllib.parse import quote, urlsplit

_LINES = "\n\t"
_INVISIBLE = {"Cc", "Cs", "Zl", "Zp"}
_DIRECTIONS = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)), "\u200e", "\u200f", "\u061c"}
"""Characters that turn the direction of what follows, so that text reads otherwise than it is."""
_MARKDOWN = re.compile(r"[\\|*<`~$]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)|\](?=[(\[:])")
"""A bracket makes a link only together with what follows it, so intervals stay as they are."""
_BLOCK = re.compile(r"^(?P<number>\d*)(?P<mark>(?<=\d)[.)](?=\s|$)|(?<!\d)(?:#{1,6}(?=\s|$)|[+-](?=\s|$)|-{3}|>|\[))")
"""What begins a heading, a list, a rule, a quotation, a task or what a link leads to."""
_MAYBE_UNSAFE = re.compile(r"[^\n\t -~]")
"""All but plain ASCII: the only characters of a long text that are worth a look."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_SAFE_SCHEMES = ("http", "https", "")


def printable(text: str, *, keep: str = _LINES) -> str:
    """Return text in which control characters, and characters that change its direction, are written out.

    An escape becomes the four characters ``\\x1b``. Those of ``keep`` stay, line breaks and tabs as a rule.
    """
    if text.isprintable():
        return text
    return "".join(_shown(each) if each not in keep and _is_unsafe(each) else each for each in text)


def one_line(text: str) -> str:
    """Return text as one line of printable characters, each run of spaces and line breaks a single space."""
    return printable(" ".join(text.split()), keep="")


def markdown_text(text: str) -> str:
    """Return text on one line that Markdown shows as it is; an underscore inside a word is safe as it stands."""
    escaped = _MARKDOWN.sub(r"\\\g<0>", one_line(text))
    return _BLOCK.sub(r"\g<number>\\\g<mark>", escaped)


def markdown_code(text: str, *, in_table: bool = False) -> str:
    """Return text as a code span of Markdown, whatever backticks it holds; in a table its bars are escaped."""
    line = one_line(text)
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    space = " " if longest or line != line.strip() else ""
    fence = "`" * (longest + 1)
    return f"{fence}{space}{line.replace('|', chr(92) + '|') if in_table else line}{space}{fence}"


def json_escaped(encoded: str) -> str:
    """Return encoded JSON with control characters, and those that change direction, as JSON escapes."""
    return _MAYBE_UNSAFE.sub(lambda found: _json_text(found[0]), encoded)


def csv_cell(text: str) -> str:
    """Return text that no spreadsheet takes for a formula; numbers stay numbers."""
    text = printable(text)
    if not text.lstrip(" ").startswith(_FORMULA) or _is_number(text):
        return text
    return f"'{text}"


def safe_link(address: str) -> str:
    """Return an address that a page may lead to, empty for one that would run a script or open a file.

    Addresses of http and https and relative ones are safe; characters that have no place in an address are quoted.
    """
    bare = "".join(each for each in address if each > " ")  # as browsers read it
    try:
        scheme = urlsplit(bare).scheme.lower()
    except ValueError:
        return ""
    written = "".join(each for each in address.strip() if each >= " ")
    return quote(written, safe="/:?#@!$&'*+,;=%-._~") if scheme in _SAFE_SCHEMES else ""


def _json_text(character: str) -> str:
    return f"\\u{ord(character):04x}" if _is_unsafe(character) else character


def _is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE or character in _DIRECTIONS


def _shown(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

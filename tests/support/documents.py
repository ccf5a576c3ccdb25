"""The documents of the project as tests see them: their headings, blocks of code and commands."""

import importlib.util
import re
import shlex
import sys
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]
_FENCE = re.compile(r"^(?P<indent>\s*)(?P<mark>```+|~~~+)\s*(?P<language>[\w+-]*)")
_PROMPT = re.compile(r"^\w*\$ +")
_HERE = re.compile(r"<<-?\s*'?\"?(?P<word>\w+)")
_ENDS = {"&&", "||", ";", "|", "&", "(", ")", "$("}


def site_module(name: str) -> ModuleType:
    """Return a module of ``docs/site``, which is no package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "site" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


@dataclass(frozen=True)
class Block:
    """A block of code: its language ("" where none is named), its text, and the line on which it begins."""

    language: str
    text: str
    line: int


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of code of a document."""
    language, mark, inside, begin = "", "", [], 0
    for number, line in enumerate(text.splitlines(), start=1):
        fence = _FENCE.match(line)
        if not mark and fence:
            language, mark, inside, begin = fence["language"], fence["mark"], [], number
        elif mark and fence and fence["mark"].startswith(mark) and not fence["language"]:
            yield Block(language, "\n".join(inside), begin)
            mark = ""
        elif mark:
            inside.append(line)
    assert not mark, f"the block of code that begins on line {begin} has no end"


def prose(text: str) -> str:
    """Return a document without its blocks of code."""
    module = site_module("pages")
    return "".join(line for is_code, line in module.lines_with_code(text) if not is_code)


def headings(text: str) -> list[str]:
    """Return the headings of a document as they read."""
    found = re.findall(r"^#{1,6} +(.+?)(?: *\{[^}]*\})?\s*#*$", prose(text), flags=re.MULTILINE)
    return [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "") for heading in found]


def site_anchor(heading: str) -> str:
    """Return the anchor that the site gives to a heading."""
    plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def repository_anchor(heading: str) -> str:
    """Return the anchor that pages of the repository give to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def shell_commands(block: str, *, program: str) -> Iterator[list[str]]:
    """Yield the words of each call of ``program`` in a block of shell commands, but for texts of here-documents."""
    for line in _shell_lines(block):
        if program not in line:
            continue
        words: list[str] = []
        for word in [*_words(line), ";"]:
            if word in _ENDS or set(word) <= set("<>&"):
                if words and words[0] == program:
                    yield words[1:]
                words = [] if word in _ENDS else ["(redirected)"]
            elif words or "=" not in word:
                words.append(word)


def _shell_lines(block: str) -> Iterator[str]:
    until = ""
    for line in re.sub(r"\\\n\s*", "", block).splitlines():
        if until:
            until = "" if line.strip() == until else until
            continue
        here = _HERE.search(line)
        until = here["word"] if here else ""
        yield _PROMPT.sub("", line.strip())


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    return list(lexer)

"""Which files become pages of the site, and where their links lead there.

Documents are written for readers of the repository: README files beside the code, pages in ``docs/``. The site shows
them all. A link to another document becomes a link to its page, a link to any other file one to a copy of that file.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

PACKAGES = ("platform", "trials", "search_spaces", "reports")
WITH_READMES = (*PACKAGES, "release")
AT_THE_ROOT = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}
"""Documents at the root of the repository, by the names of their pages."""
_LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")
_FENCE = re.compile(r"^\s*(```|~~~)")


class LinkError(ValueError):
    """A link of a document leads to no file."""


@dataclass(frozen=True)
class Page:
    """A document as the site shows it, and the other files that it links to."""

    text: str
    files: tuple[str, ...]


def documents(root: Path) -> dict[str, str]:
    """Return the page of every document, both as paths: of the repository, and of the site."""
    found = {name: page for name, page in AT_THE_ROOT.items() if (root / name).is_file()}
    for path in sorted((root / "docs").rglob("*.md")):
        found[_posix(path, root)] = _posix(path, root / "docs")
    for package in WITH_READMES:
        for path in sorted((root / package).rglob("README.md")):
            folder = path.parent.relative_to(root)
            found[_posix(path, root)] = f"code/{'-'.join(folder.parts)}.md"
    return found


def page(document: str, *, root: Path, pages: Mapping[str, str]) -> Page:
    """Return a document with its links as they lead in the site.

    Raises ``LinkError`` for a link that leads to no file of the repository.
    """
    files: list[str] = []
    place = PurePosixPath(pages[document])

    def changed(match: re.Match[str]) -> str:
        label, link = match.groups()
        path, mark, anchor = link.partition("#")
        if not path or "://" in link or link.startswith("mailto:"):
            return match.group()
        target = _target(path, document=document, root=root)
        if target not in pages:
            if (root / target).is_dir():
                raise LinkError(f"{document}: the link {link} leads to a folder; name a file in it")
            files.append(target)
        leads_to = pages.get(target) or copied(target)
        return f"{label}({os.path.relpath(leads_to, place.parent)}{mark}{anchor})"

    text = (root / document).read_text(encoding="utf-8")
    lines = [line if is_code else _LINK.sub(changed, line) for is_code, line in lines_with_code(text)]
    return Page("".join(lines), tuple(files))


def copied(target: str) -> str:
    """Return where the site keeps its copy of a file that is no document; pictures of the pages stay where they are."""
    return target.removeprefix("docs/") if target.startswith("docs/images/") else f"files/{target}"


def lines_with_code(text: str) -> Iterator[tuple[bool, str]]:
    """Yield every line, and whether it belongs to a block of code (its fences too)."""
    inside = False
    for line in text.splitlines(keepends=True):
        is_fence = _FENCE.match(line) is not None
        yield inside or is_fence, line
        inside ^= is_fence


def links(text: str) -> list[str]:
    """Return the targets of all links outside of blocks of code."""
    prose = [line for is_code, line in lines_with_code(text) if not is_code]
    return [link for line in prose for _, link in _LINK.findall(line)]


def _target(path: str, *, document: str, root: Path) -> str:
    found = PurePosixPath(os.path.normpath(PurePosixPath(document).parent / path))
    if not (root / found).exists():
        raise LinkError(f"{document}: the link {path} leads to no file")
    return str(found)


def _posix(path: Path, base: Path) -> str:
    return path.relative_to(base).as_posix()

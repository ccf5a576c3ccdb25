"""Build the site of the documentation: ``python docs/site/build_site.py``. Any warning is an error.

The pages are laid out in ``build/site-pages`` (documents with their links changed, the page of the command line) and
built into ``build/site`` by MkDocs with the Material theme and mkdocstrings.

Material gets fixes of security and grave faults until May 2027. Its successor is Zensical, by the same authors, which
reads the same ``mkdocs.yml``; in November 2026 it was not ready: its support for mkdocstrings is called preliminary,
its ``--strict`` does not count what mkdocstrings reports, and one of its parts could not be installed from PyPI.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from command_line import command_line_page
from pages import PACKAGES, copied, documents, page

ROOT = Path(__file__).resolve().parents[2]
PAGES, CODE, SITE = ROOT / "build" / "site-pages", ROOT / "build" / "site-code", ROOT / "build" / "site"
_ELSEWHERE = {
    ".html": re.compile(
        r"<(?:script|img|iframe|source|video|audio)\b[^>]*\ssrc=[\"']?(?:https?:)?//[^\s>]*"
        r"|<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preload|preconnect|icon))[^>]*\bhref=[\"']?(?:https?:)?//[^\s>]*"
    ),
    ".css": re.compile(r"(?:@import\s+|url\()\s*[\"']?(?:https?:)?//[^\s)]*"),
}


def lay_out_pages() -> None:
    """Write every page of the site, and what the pages link to, as Markdown and plain files."""
    shutil.rmtree(PAGES, ignore_errors=True)
    pages = documents(ROOT)
    for document, place in pages.items():
        shown = page(document, root=ROOT, pages=pages)
        _write(PAGES / place, shown.text.encode())
        for name in shown.files:
            _write(PAGES / copied(name), (ROOT / name).read_bytes())
    _write(PAGES / "reference" / "command-line.md", command_line_page().encode())
    for name in ("nmlab.css", "nmlab.js"):
        _write(PAGES / name, (ROOT / "docs" / "site" / name).read_bytes())


def lay_out_code() -> None:
    """Copy the package for mkdocstrings, which follows no links and enters no folder without ``__init__.py``."""
    shutil.rmtree(CODE, ignore_errors=True)
    shutil.copytree(ROOT / "src" / "nmlab", CODE / "nmlab", ignore=lambda folder, names: filter(_is_no_code, names))
    for package in PACKAGES:
        (CODE / "nmlab" / package / "__init__.py").touch()
    for path in (CODE / "nmlab").rglob("*.py"):  # the heading under which mkdocstrings knows prompts to be code
        path.write_text(re.sub(r"^( +)Example:$", r"\1Examples:", path.read_text("utf-8"), flags=re.MULTILINE), "utf-8")


def fetched_from_elsewhere(site: Path) -> Iterator[str]:
    """Yield what the pages and styles of a site fetch from the network when they are read."""
    for path in sorted(site.rglob("*")):
        if path.suffix in _ELSEWHERE:
            for match in _ELSEWHERE[path.suffix].finditer(path.read_text(encoding="utf-8")):
                yield f"{path.relative_to(site)} fetches {match.group()}"


def main() -> int:
    """Build the site; return 1 and say why if anything is wrong."""
    lay_out_pages()
    lay_out_code()
    shutil.rmtree(SITE, ignore_errors=True)
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an advertisement on every build
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", "mkdocs.yml"]
    built = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    wrong = [*fetched_from_elsewhere(SITE)]
    if built.returncode or wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    print(f"site: {SITE / 'index.html'}; with its search: python -m http.server --directory {SITE.relative_to(ROOT)}")
    return 0


def _is_no_code(name: str) -> bool:
    return name == "__pycache__" or Path(name).suffix not in ("", ".py", ".typed")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    sys.exit(main())

"""`builtin:python-docs`: real English text that every Python installation has, so nothing is downloaded.

The corpus is the docstrings of the running interpreter's own standard library, parsed from its source files.
A document is one module (one source file): its module, class and function docstrings in source order, cleaned
of indentation and joined by blank lines.

Three parts share no docstring, and the calibration part falls into two: `validation`, a third of its modules, and
`learning`, the others. The split is by top-level module and hashes only the module's name, so `email`
and all below it lie in one part, and lie in the same part under every Python version: a model trained on the
`training` part of one version has not seen the `evaluation` modules of another. A docstring that occurs twice
is kept at its first place only. The texts themselves do differ between versions; `digest` distinguishes them.
"""

import ast
import hashlib
import json
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.data.disk_cache import get_or_compute

PARTS = ("training", "calibration", "evaluation")
LEARNING, VALIDATION = "learning", "validation"
"""The two parts of the calibration part, for studies that choose configurations on text of its own."""

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

# Tests and vendored tools say little in prose; `pydoc_data` is generated anew for each release.
_SKIPPED_PACKAGES = frozenset({"test", "idlelib", "lib2to3", "pydoc_data", "turtledemo"})
_SKIPPED_FOLDERS = frozenset({"test", "tests", "idle_test", "__pycache__", "site-packages", "dist-packages"})

# Chosen among the integers because, on Python 3.11 to 3.13, both small parts then hold 160 to 175 kB from 18
# modules or more, no module is above a third of its part, and the near-copies `ntpath` and `posixpath` meet.
_SALT = "558"
# Chosen among the integers because validation then holds close to a third of the calibration part on these versions.
_VALIDATION_SALT = "1243"


def documents(part: str) -> list[str]:
    """Return the documents of one part, ordered by module name; the first call on a machine takes about 2 s.

    Raises:
        ValueError: `part` is none of `PARTS`, `learning` and `validation`.
        FileNotFoundError: this interpreter was installed without the source of its standard library.
    """
    _check_part(part)
    if part in PARTS:
        return _texts(part)
    return [text for module, text in _corpus()["calibration"] if _is_in(module, part)]


def modules_of(part: str) -> list[tuple[str, Path]]:
    """Return the modules of one part with their source files, by name; raises as `documents` does."""
    _check_part(part)
    return [(module, path) for module, path in _library() if _is_in(module, part)]


def state_of(sources: Sequence[tuple[str, Path]], *, code: Path) -> str:
    """Return 16 hex digits that change when the file ``code`` or a source does, by names, sizes and times."""
    facts = [(module, path.stat().st_size, path.stat().st_mtime_ns) for module, path in sources]
    own_code = hashlib.sha256(code.read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps([sys.version, own_code, facts]).encode()).hexdigest()[:16]


def _check_part(part: str) -> None:
    known = (*PARTS, LEARNING, VALIDATION)
    if part not in known:
        raise ValueError(unknown_name(part, kind="part of python-docs", known=known))


def _is_in(module: str, part: str) -> bool:
    if part in PARTS:
        return part_of(module) == part
    return part_of(module) == "calibration" and is_validation(module) == (part == VALIDATION)


@cache
def digest() -> str:
    """Return 16 hex digits of the SHA-256 of all parts: equal digests mean equal corpora."""
    return hashlib.sha256(json.dumps({part: _texts(part) for part in PARTS}).encode()).hexdigest()[:16]


def part_of(module: str) -> str:
    """Return the part that a module belongs to, by its top-level name alone (about 80, 10 and 10 %).

    A pure-Python twin goes where its public module goes (`_pydecimal` with `decimal`): they share their text.
    """
    bucket = _hash(module, salt=_SALT) % 100
    return "training" if bucket < 80 else "calibration" if bucket < 90 else "evaluation"


def is_validation(module: str) -> bool:
    """Return whether a module of the calibration part is in its validation third, by its top-level name alone."""
    return _hash(module, salt=_VALIDATION_SALT) % 3 == 0


def _hash(module: str, *, salt: str) -> int:
    name = module.partition(".")[0].removeprefix("_py").lstrip("_")
    return int.from_bytes(hashlib.sha256(f"{salt}:{name}".encode()).digest()[:8])


def _texts(part: str) -> list[str]:
    return [text for _, text in _corpus()[part]]


@cache
def _corpus() -> dict[str, list[tuple[str, str]]]:
    """Return module and text of every document by part."""
    sources = _library()
    state = state_of(sources, code=Path(__file__))
    found = get_or_compute("python-docs", state=state, compute=lambda: _parsed(sources))
    return {part: [(module, text) for module, text in documents] for part, documents in found.items()}


@cache
def _library() -> list[tuple[str, Path]]:
    return _sources(Path(sysconfig.get_path("stdlib")))


def _parsed(sources: list[tuple[str, Path]]) -> dict[str, list[tuple[str, str]]]:
    texts: dict[str, list[tuple[str, str]]] = {part: [] for part in PARTS}
    seen: set[str] = set()
    for module, path in sources:
        fresh = [text for text in dict.fromkeys(_docstrings(path)) if text not in seen]
        seen.update(fresh)
        if fresh:
            texts[part_of(module)].append((module, "\n\n".join(fresh) + "\n"))
    return texts


def _sources(root: Path) -> list[tuple[str, Path]]:
    """List (dotted module name, file) of the standard library below `root`, in the order of the names."""
    found = []
    for path in root.rglob("*.py"):
        names = path.relative_to(root).with_suffix("").parts
        if names[0] in sys.stdlib_module_names - _SKIPPED_PACKAGES and _SKIPPED_FOLDERS.isdisjoint(names):
            found.append((".".join(names), path))
    if not found:
        raise FileNotFoundError(f"no source in {root}: python-docs needs the standard library's .py files")
    return sorted(found)


def _docstrings(path: Path) -> Iterator[str]:
    """Yield the non-empty docstrings of one source file, in source order."""
    documented = [node for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, _Documented)]
    for node in sorted(documented, key=lambda node: getattr(node, "lineno", 0)):
        if text := (ast.get_docstring(node) or "").strip():
            yield text

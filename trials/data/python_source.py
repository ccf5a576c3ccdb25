"""`builtin:python-code` and `builtin:python-comments`: what else the source files of the standard library hold.

Two texts of other kinds than `builtin:python-docs`, for measuring masks on text that is neutral to what they learned
from without a network. A document is one module. Code is the module without its docstrings and comments, as
`ast.unparse` writes it; comments are their lines, each run of them a paragraph. The parts are those of python-docs,
by module, so the three texts of one part come from the same modules and no two parts share one.
"""

import ast
import io
import tokenize
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

from nmlab.trials.data import python_docs
from nmlab.trials.data.disk_cache import get_or_compute

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def code(part: str) -> list[str]:
    """Return the code of the modules of one part; raises as :func:`python_docs.documents` does."""
    return _texts("python-code", part)


def comments(part: str) -> list[str]:
    """Return the comments of the modules of one part; raises as :func:`python_docs.documents` does."""
    return _texts("python-comments", part)


SOURCES: Mapping[str, Callable[[str], list[str]]] = {
    "builtin:python-code": code,
    "builtin:python-comments": comments,
}
"""The documents of a part by the name of the text."""


def _texts(kind: str, part: str) -> list[str]:
    wanted = {module for module, _ in python_docs.modules_of(part)}
    found = _corpus(kind, part if part in python_docs.PARTS else "calibration")
    return list(dict.fromkeys(text for module, text in found.items() if module in wanted))


@cache
def _corpus(kind: str, part: str) -> dict[str, str]:
    """Return the text of each module of a part that has any."""
    modules = python_docs.modules_of(part)
    state = python_docs.state_of(modules, code=Path(__file__))
    return get_or_compute(f"{kind}-{part}", state=state, compute=lambda: _read(kind, modules))


def _read(kind: str, modules: Sequence[tuple[str, Path]]) -> dict[str, str]:
    text_of = _code if kind == "python-code" else _comments
    found = ((module, text_of(path.read_bytes()).strip()) for module, path in modules)
    return {module: f"{text}\n" for module, text in found if text}


def _code(source: bytes) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _comments(source: bytes) -> str:
    """Return the comments as text: runs of lines joined by newlines, and blank lines between them."""
    return "\n\n".join("\n".join(run) for run in _runs(source))


def _runs(source: bytes) -> Iterator[list[str]]:
    run: list[str] = []
    last = 0
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        text = token.string.lstrip("#!: ").rstrip(" #-=*")
        if token.type != tokenize.COMMENT or not text:
            continue
        if run and token.start[0] != last + 1:
            yield run
            run = []
        run.append(text)
        last = token.start[0]
    if run:
        yield run

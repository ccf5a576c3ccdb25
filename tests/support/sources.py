"""The project's Python files as tests that read them see them: parsed, statement by statement."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("platform", "trials", "search_spaces", "reports")
_BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield all statements below a node; unlike `ast.walk`, do not look into their expressions, most of a tree."""
    for block in _BLOCKS:
        for each in getattr(node, block, ()):
            yield each
            yield from statements(each)


def dotted(node: ast.expr) -> str:
    """Return the source of an expression; of a dotted name much faster than `ast.unparse` does it."""
    match node:
        case ast.Name(name):
            return name
        case ast.Attribute(value, name):
            return f"{dotted(value)}.{name}"
    return ast.unparse(node)

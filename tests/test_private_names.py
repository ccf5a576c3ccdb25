"""Private names of other libraries stand in ``trials/compat.py`` and ``platform/compat/``, and nowhere else.

Found by parsing. A private attribute of ``self``, ``cls`` or ``super()`` has to be defined somewhere in nmlab, one of
any other object in the same file.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMPAT = (Path("trials/compat.py"), Path("platform/compat"))
PUBLIC = {"_exit", "_replace", "_fields", "_asdict"}
"""Names that Python documents, for all that they begin with an underscore."""
_TEXT = re.compile(r"(ray|torch|mlflow|optuna|transformers)(\.\w+)*\._\w+(\.\w+)*")


def sources() -> dict[Path, ast.AST]:
    """Return every module of nmlab by its path, parsed."""
    folders = ("platform", "trials", "search_spaces", "reports", "src/nmlab")
    paths = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    return {path.relative_to(ROOT): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in {*PUBLIC, "_"}


def defined(tree: ast.AST) -> set[str]:
    """Return the private names that a module defines: functions, classes, variables and attributes it assigns."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_own(node.value):
            names.add(node.attr)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return {name for name in names if is_private(name)}


def _is_own(node: ast.AST) -> bool:
    return (isinstance(node, ast.Name) and node.id in ("self", "cls")) or ast.unparse(node) == "super()"


def foreign(tree: ast.AST, *, anywhere: set[str]) -> Iterator[str]:
    """Yield the private names of others that a module uses; ``anywhere`` are those that nmlab defines."""
    here = defined(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            if node.attr not in (anywhere if _is_own(node.value) else here):
                yield ast.unparse(node)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if _has_private_part(alias.name))
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in names if _has_private_part(name))
        elif isinstance(node, ast.keyword) and is_private(node.arg or "") and node.arg not in here:
            yield f"{node.arg}="
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _TEXT.fullmatch(node.value):
            yield repr(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr", "delattr"):
            name = node.args[1]
            if isinstance(name, ast.Constant) and is_private(str(name.value)) and name.value not in here:
                yield ast.unparse(node)


def _has_private_part(name: str) -> bool:
    return any(is_private(part) for part in name.split("."))


def test_private_names_of_others_stand_in_compat_alone():
    trees = sources()
    anywhere = set().union(*(defined(tree) for tree in trees.values()))
    found = {
        str(path): names
        for path, tree in trees.items()
        if not any(path == place or place in path.parents for place in COMPAT)
        and (names := sorted(foreign(tree, anywhere=anywhere)))
    }
    assert not found, "give it an entry in trials/compat.py or platform/compat/, and that a test"


def test_compat_holds_some():
    """Without this the test above might look in the wrong place."""
    trees = sources()
    for place in COMPAT:
        within = [tree for path, tree in trees.items() if path == place or place in path.parents]
        assert any(list(foreign(tree, anywhere=set())) for tree in within), place


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from ray._raylet import GcsClient", ["ray._raylet.GcsClient"]),
        ("def f():\n    import torch._C", ["torch._C"]),
        (
            "from ray.experimental.internal_kv import _internal_kv_put",
            ["ray.experimental.internal_kv._internal_kv_put"],
        ),
        ("ray._private.state.actors(1)", ["ray._private"]),
        ("known._trial_id", ["known._trial_id"]),
        ("class A(B):\n    def f(self):\n        return self._file_path", ["self._file_path"]),
        ("class A(B):\n    def f(self):\n        return super()._hidden()", ["super()._hidden"]),
        ("getattr(model, '_hidden', None)", ["getattr(model, '_hidden', None)"]),
        ("ray.init(_temp_dir='x')", ["_temp_dir="]),
        ("import_module('torch._subclasses.fake_tensor')", ["'torch._subclasses.fake_tensor'"]),
        ("class A:\n    def _f(self):\n        return self._f() + other._f()", []),
        ("class A:\n    def __init__(self):\n        self._x = 1\ndef g(a):\n    return a._x", []),
        ("class A(B):\n    def f(self):\n        return self._of_another_module", []),
        ("import os\nos._exit(1)\nparts._replace(a=1)\nmodule.__name__", []),
    ],
)
def test_the_walk_sees_private_names_of_others(source, names):
    assert list(foreign(ast.parse(source), anywhere={"_f", "_x", "_of_another_module"})) == names

"""Private names of other libraries stand in ``trials/compat.py`` and ``platform/compat/``, and nowhere else.

Found by parsing. A private attribute of ``self``, ``cls`` or ``super()`` has to be defined somewhere in nmlab, one of
any other object in the same file.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from sources import PACKAGES, ROOT

COMPAT = (Path("trials/compat.py"), Path("platform/compat"))
PUBLIC = {"_exit", "_replace", "_fields", "_asdict"}
"""Names that Python documents, for all that they begin with an underscore."""
_TEXT = re.compile(r"(ray|torch|mlflow|optuna|transformers)(\.\w+)*\._\w+(\.\w+)*")


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in {*PUBLIC, "_"}


class Module:
    """A module of nmlab: the private names that it defines, and the nodes in which it may use those of others."""

    def __init__(self, source: str) -> None:
        nodes = list(ast.walk(ast.parse(source)))
        self.defined = {name for node in nodes if (name := _defined(node)) and is_private(name)}
        self._uses = [node for node in nodes if _may_use(node)]

    def foreign(self, *, anywhere: set[str]) -> Iterator[str]:
        """Yield the private names of others that the module uses; ``anywhere`` are those that nmlab defines."""
        for node in self._uses:
            if isinstance(node, ast.Attribute):
                if node.attr not in (anywhere if _is_own(node.value) else self.defined):
                    yield ast.unparse(node)
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if _has_private_part(alias.name))
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from (name for name in names if _has_private_part(name))
            elif isinstance(node, ast.keyword):
                if node.arg not in self.defined:
                    yield f"{node.arg}="
            elif isinstance(node, ast.Constant):
                yield repr(node.value)
            elif isinstance(node, ast.Call):
                name = node.args[1]
                if isinstance(name, ast.Constant) and is_private(str(name.value)) and name.value not in self.defined:
                    yield ast.unparse(node)


def _defined(node: ast.AST) -> str | None:
    """Return the name that a node defines: a function, a class, a variable, an argument, an attribute it assigns."""
    match node:
        case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name) | ast.arg(name):
            return name
        case ast.Name(name, ast.Store()):
            return name
        case ast.Attribute(value, name, ast.Store()) if _is_own(value):
            return name
    return None


def _is_own(node: ast.AST) -> bool:
    match node:
        case ast.Name("self" | "cls") | ast.Call(ast.Name("super"), args=[], keywords=[]):
            return True
    return False


def _may_use(node: ast.AST) -> bool:
    match node:
        case ast.Attribute(attr=name) | ast.keyword(arg=str(name)):
            return is_private(name)
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.Constant(str(text)):
            return _TEXT.fullmatch(text) is not None
        case ast.Call(ast.Name("getattr" | "hasattr" | "setattr" | "delattr")):
            return True
    return False


@cache
def modules() -> dict[Path, Module]:
    """Return every module of nmlab by its path."""
    paths = [path for folder in (*PACKAGES, "src/nmlab") for path in (ROOT / folder).rglob("*.py")]
    return {path.relative_to(ROOT): Module(path.read_text(encoding="utf-8")) for path in paths}


def _has_private_part(name: str) -> bool:
    return any(is_private(part) for part in name.split("."))


def test_private_names_of_others_stand_in_compat_alone():
    anywhere = set().union(*(module.defined for module in modules().values()))
    found = {
        str(path): names
        for path, module in modules().items()
        if not any(path == place or place in path.parents for place in COMPAT)
        and (names := sorted(module.foreign(anywhere=anywhere)))
    }
    assert not found, "give it an entry in trials/compat.py or platform/compat/, and that a test"


def test_compat_holds_some():
    """Without this the test above might look in the wrong place."""
    for place in COMPAT:
        within = [module for path, module in modules().items() if path == place or place in path.parents]
        assert any(list(module.foreign(anywhere=set())) for module in within), place


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
    assert list(Module(source).foreign(anywhere={"_f", "_x", "_of_another_module"})) == names

"""What `import nmlab` gives: names, when they are loaded, documentation, and examples that run."""

import ast
import doctest
import inspect
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import nmlab
from nmlab.platform.cli.app import app

ROOT = Path(__file__).resolve().parents[3]
VERBS = [command.name for command in app.registered_commands]
NAMES = [name for name in nmlab.__all__ if name != "__version__"]
MODULES = sorted({f"nmlab.platform.api.{path.stem}" for path in (ROOT / "platform" / "api").glob("[!_]*.py")})


def surface():
    return ast.parse((ROOT / "src" / "nmlab" / "__init__.py").read_text(encoding="utf-8"))


def test_every_verb_of_the_command_line_is_a_function():
    assert [verb for verb in VERBS if not callable(getattr(nmlab, verb, None))] == []
    assert {"load_study", "load_result", "load_mask"} <= set(NAMES)
    assert {"Study", "Plan", "SweepResult", "Configuration", "Trial", "Mask"} <= set(NAMES)


def test_type_checkers_see_the_same_names_in_the_same_modules():
    """The imports under ``TYPE_CHECKING``, the table that loads a name, and ``__all__`` are one list."""
    seen = {
        alias.name: node.module
        for node in ast.walk(surface())
        if isinstance(node, ast.ImportFrom) and node.module.startswith("nmlab.")
        for alias in node.names
    }
    assert seen == {name: getattr(nmlab, name).__module__ for name in NAMES}
    assert sorted(seen) == sorted(NAMES)
    assert set(NAMES) <= set(dir(nmlab))


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'nmlab' has no attribute 'sweeep'"):
        nmlab.sweeep  # noqa: B018


def python(code, *, folder):
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_it_loads_nothing_heavy(tmp_path):
    heavy = "{'torch', 'ray', 'pandas', 'mlflow', 'optuna', 'transformers', 'pydantic', 'rich'} & {*sys.modules}"
    assert python(f"import sys, nmlab; print({heavy}, dir(nmlab) and {heavy})", folder=tmp_path) == "set() set()"
    assert list(tmp_path.iterdir()) == []


def test_a_study_is_loaded_changed_and_refused_without_torch_and_ray(tmp_path):
    code = """
import sys, nmlab
study = nmlab.load_study("quickstart").with_overrides(seeds=[0])
try:
    study.with_overrides(sedes=[1])
except ValueError as error:
    print(error)
print({"torch", "ray", "pandas", "mlflow"} & {*sys.modules})
"""
    assert python(code, folder=tmp_path).splitlines() == [
        "quickstart: sedes: unknown key; did you mean 'seeds'?",
        "set()",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_documented(name):
    value = getattr(nmlab, name)
    text = inspect.getdoc(value) or ""
    assert text.splitlines()[0].endswith(".")
    assert value.__doc__, "not that of a base class"
    if not inspect.isfunction(value):
        return
    parameters = [each for each in inspect.signature(value).parameters.values() if each.kind != each.VAR_KEYWORD]
    missing = [each.name for each in parameters if f"\n    {each.name}: " not in text]
    assert not missing, f"{name}: arguments without documentation"
    wanted = ["Example:", *(["Args:"] if parameters else []), *(["Returns:"] if name != "ui" else [])]
    assert [part for part in wanted if f"\n{part}\n" not in text] == []
    positional = [each for each in parameters if each.kind == each.POSITIONAL_OR_KEYWORD]
    assert len(positional) <= 3


def examples():
    """Return every docstring with an example of the modules, by name."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = [nmlab, *map(import_module, MODULES)]
    found = {test.name: test for module in modules for test in finder.find(module) if test.examples}
    return {name: test for name, test in found.items() if not all(_is_skipped(each) for each in test.examples)}


def _is_skipped(example):
    return example.options.get(doctest.SKIP, False)


def test_verbs_have_examples_that_run():
    """Those that need a launch or a cluster are run in test_api_sweeps.py and in the notebook."""
    elsewhere = {"sweep", "resume", "extend", "report", "compare", "scale", "status", "submit", "ui"}
    run = {name.rpartition(".")[2] for name in examples()}
    assert {*VERBS, "load_study", "load_mask", "load_result", "load_model"} - elsewhere - {"sweep"} <= run


@pytest.mark.parametrize("name", sorted(examples()))
@pytest.mark.slow
def test_an_example_runs(name, tracking_uri, monkeypatch):
    """In an empty folder with an empty store, which are those that a function takes where none is named."""
    monkeypatch.delenv("NMLAB_RESULTS", raising=False)
    failed = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    runner.run(examples()[name], out=failed.append)
    assert not runner.failures, "".join(failed)
    assert Path.cwd() == Path(tracking_uri.removeprefix("sqlite:///")).parent
    assert "MLFLOW_TRACKING_URI" not in os.environ

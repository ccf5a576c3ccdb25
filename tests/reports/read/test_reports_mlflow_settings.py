"""MLflow's telemetry stays off in any order of imports."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ASK = "from mlflow.telemetry import get_telemetry_client as ask; print(ask() is None)"
CONNECT = "from nmlab.reports.read.mlflow_access import connection; connection.connect({uri!r})"
LIBRARY = Path("reports/read/mlflow_access/library.py")
_TESTING = ("PYTEST", "CI", "GITHUB", "MLFLOW", "DO_NOT_TRACK", "TRAVIS", "JENKINS", "GITLAB")
MODULES = "nmlab.platform.tracking, nmlab.platform.tracking.address, nmlab.reports.report, nmlab.platform.cli"
IN_A_CHILD = "import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', ask], text=True))"
READ = "from nmlab.reports.read.store import reading; reading('sqlite:///x').__enter__(); import mlflow"
PROGRAMS = {
    "nmlab, MLflow, nmlab's use of it": (
        *(f"import sys, {MODULES}", "print('mlflow' in sys.modules)", "import mlflow", ASK, CONNECT, ASK),
    ),
    "nmlab's use of MLflow, and a child": (CONNECT, ASK, f"ask = {'import mlflow; ' + ASK!r}", IN_A_CHILD),
    "nmlab's settings, and MLflow by another": (READ, ASK),
    "a user's own setting": (
        "import os; os.environ['MLFLOW_DISABLE_TELEMETRY'] = 'false'",
        "from nmlab.reports.read.mlflow_access.library import param; param('a', 'b')",
        ASK,
    ),
}
USED_BY_MLFLOW = ("numpy", "pandas", "sqlalchemy", "alembic", "pydantic", "requests", "google", "opentelemetry", "yaml")
FORKS = """
import contextlib, importlib, json, os, sys, traceback

others, programs = json.loads(sys.stdin.read())
for name in others:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
assert not [name for name in sys.modules if name.partition(".")[0] in ("mlflow", "nmlab")]
for place, program in enumerate(programs):
    if os.fork() == 0:
        sys.stdout, code = open(f"{place}.out", "w"), 0
        try:
            exec(program, {})
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        os._exit(code)
    assert os.wait()[1] == 0, program
"""
"""Runs each program in a process of its own, forked from one that has imported of other packages what MLflow does."""


@pytest.fixture(scope="module")
def printed(new_store, tmp_path_factory):
    """Return what each program prints, without the environment variables that mark a test run."""
    folder = tmp_path_factory.mktemp("telemetry")
    uri = new_store(folder)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_TESTING)}
    others = [name for name in sys.modules if name.partition(".")[0] in USED_BY_MLFLOW]
    programs = ["\n".join(lines).replace("{uri!r}", repr(uri)) for lines in PROGRAMS.values()]
    done = subprocess.run(
        [sys.executable, "-c", FORKS],
        input=json.dumps([others, programs]),
        cwd=folder,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: (folder / f"{place}.out").read_text().split() for place, name in enumerate(PROGRAMS)}


@pytest.mark.slow
def test_importing_nmlab_imports_no_mlflow_and_its_first_use_of_mlflow_ends_the_telemetry(printed):
    """MLflow alone starts its telemetry; without that nothing would be shown here."""
    assert printed["nmlab, MLflow, nmlab's use of it"] == ["False", "False", "True"]


@pytest.mark.slow
def test_nmlab_may_be_there_before_mlflow_and_what_it_starts_has_the_settings_too(printed):
    assert printed["nmlab's use of MLflow, and a child"] == ["True", "True"]


@pytest.mark.slow
def test_another_may_import_mlflow_once_nmlab_has_made_its_settings(printed):
    """Of the functions that make them one stands for all: the last test here shows that each does."""
    assert printed["nmlab's settings, and MLflow by another"] == ["True"]


@pytest.mark.slow
def test_a_user_can_keep_telemetry_on(printed):
    assert printed["a user's own setting"] == ["False"]


def test_one_file_imports_mlflow():
    """It makes the settings before each of its imports; whatever else needs MLflow asks it."""
    packages = ("platform", "trials", "search_spaces", "reports", "src")
    paths = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    assert [str(path.relative_to(ROOT)) for path in paths if _imports_at_run_time(path)] == [str(LIBRARY)]
    for function in ast.parse((ROOT / LIBRARY).read_text()).body:
        called = [ast.unparse(line) for line in getattr(function, "body", ())]
        imports = [place for place, line in enumerate(called) if line.startswith(("import mlflow", "from mlflow"))]
        if isinstance(function, ast.FunctionDef) and imports:
            assert called.index("_prepare()") < imports[0]


def _imports_at_run_time(path):
    """Return whether a file imports MLflow or one of its modules, apart from what only a type checker sees."""
    text = path.read_text()
    if "mlflow" not in text:
        return False
    tree = ast.parse(text)
    unseen = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    hidden = {inner for node in unseen for inner in ast.walk(node)}
    names = []
    for node in set(ast.walk(tree)) - hidden:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return any(f"{name}.".startswith("mlflow.") for name in names)

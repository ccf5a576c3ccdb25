"""MLflow's telemetry stays off in any order of imports."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ASK = "from mlflow.telemetry import get_telemetry_client as ask; print(ask() is None)"
CONNECT = "from nmlab.reports.read.mlflow_access import connection; connection.connect('{uri}')"
LIBRARY = Path("reports/read/mlflow_access/library.py")
_TESTING = ("PYTEST", "CI", "GITHUB", "MLFLOW", "DO_NOT_TRACK", "TRAVIS", "JENKINS", "GITLAB")


def printed_by(*lines):
    """Return what a new process prints, without the environment variables that mark a test run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_TESTING)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=kept, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.mark.slow
def test_importing_nmlab_imports_no_mlflow_and_its_first_use_of_mlflow_ends_the_telemetry(new_store, tmp_path):
    """MLflow alone starts its telemetry; without that nothing would be shown here."""
    modules = "nmlab.platform.tracking, nmlab.platform.tracking.address, nmlab.reports.report, nmlab.platform.cli"
    imports = (f"import sys, {modules}", "print('mlflow' in sys.modules)", "import mlflow", ASK)
    assert printed_by(*imports, CONNECT.format(uri=new_store(tmp_path)), ASK) == ["False", "False", "True"]


@pytest.mark.slow
def test_nmlab_may_be_there_before_mlflow_and_what_it_starts_has_the_settings_too(new_store, tmp_path):
    child = "import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', ask], text=True))"
    connect = CONNECT.format(uri=new_store(tmp_path))
    assert printed_by(connect, ASK, f"ask = {'import mlflow; ' + ASK!r}", child) == ["True", "True"]


@pytest.mark.slow
def test_another_may_import_mlflow_once_nmlab_has_made_its_settings():
    """Of the functions that make them one stands for all: the last test here shows that each does."""
    first = "from nmlab.reports.read.store import reading; reading('sqlite:///x').__enter__(); import mlflow"
    assert printed_by(first, ASK) == ["True"]


@pytest.mark.slow
def test_a_user_can_keep_telemetry_on():
    own = "import os; os.environ['MLFLOW_DISABLE_TELEMETRY'] = 'false'"
    use = "from nmlab.reports.read.mlflow_access.library import param; param('a', 'b')"
    assert printed_by(own, use, ASK) == ["False"]


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
    tree = ast.parse(path.read_text())
    unseen = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    hidden = {inner for node in unseen for inner in ast.walk(node)}
    names = []
    for node in set(ast.walk(tree)) - hidden:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return any(f"{name}.".startswith("mlflow.") for name in names)

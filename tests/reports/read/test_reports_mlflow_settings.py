"""MLflow's telemetry stays off in any order of imports."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ASK = "from mlflow.telemetry import get_telemetry_client as ask; print(ask() is None)"
LIBRARY = Path("reports/read/mlflow_access/library.py")
_TESTING = ("PYTEST", "CI", "GITHUB", "MLFLOW", "DO_NOT_TRACK", "TRAVIS", "JENKINS", "GITLAB")


def printed_by(*lines):
    """Return what a new process prints, without the environment variables that mark a test run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_TESTING)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], env=kept, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_mlflow_alone_starts_its_telemetry():
    """Without this the next tests would show nothing."""
    assert printed_by("import mlflow", ASK) == ["False"]


@pytest.mark.parametrize(
    "first",
    [
        "{connect}",
        "{store}",
        "import mlflow; {connect}",
        "import mlflow; {store}",
        "import nmlab.platform.tracking.address, nmlab.reports.read.store, mlflow; {connect}",
        "from nmlab.reports.read.store import reading; reading('sqlite:///x').__enter__(); import mlflow",
        "from nmlab.reports.read.mlflow_access.library import metric; metric('a', 1.0, time=0, step=0)",
        "from nmlab.reports.read.mlflow_access.library import param; param('a', 'b')",
    ],
)
def test_telemetry_is_off_once_nmlab_has_used_mlflow_in_any_order_of_imports(first, tmp_path):
    connect = (
        f"from nmlab.reports.read.mlflow_access import connection; connection.connect('sqlite:///{tmp_path}/a.db')"
    )
    store = f"from nmlab.platform.tracking import MlflowStore; MlflowStore('s', launch='l', uri='sqlite:///{tmp_path}/a.db')"
    assert printed_by(first.format(connect=connect, store=store), ASK) == ["True"]


def test_importing_nmlab_imports_no_mlflow():
    """So nmlab never is what starts MLflow's telemetry."""
    modules = "nmlab.platform.tracking, nmlab.platform.tracking.address, nmlab.reports.report, nmlab.platform.cli"
    assert printed_by(f"import sys, {modules}", "print('mlflow' in sys.modules)") == ["False"]


def test_what_nmlab_starts_has_the_settings_too(tmp_path):
    connect = (
        f"from nmlab.reports.read.mlflow_access import connection; connection.connect('sqlite:///{tmp_path}/a.db')"
    )
    child = "import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', ask], text=True))"
    assert printed_by(connect, f"ask = {'import mlflow; ' + ASK!r}", child) == ["True"]


def test_a_user_can_keep_telemetry_on(tmp_path):
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

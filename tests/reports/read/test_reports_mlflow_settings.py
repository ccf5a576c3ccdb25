"""MLflow's telemetry stays off in any order of imports."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ASK = "from mlflow.telemetry import get_telemetry_client as ask; print(ask() is None)"
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
        "import nmlab.reports.read.store",
        "import nmlab.platform.tracking.store, mlflow",
        "import nmlab.platform.tracking.address, mlflow",
        "import mlflow, nmlab.reports.read.mlflow_access.connection",
        "import mlflow, nmlab.platform.tracking.address",
    ],
)
def test_telemetry_is_off_in_any_order_of_imports(first):
    assert printed_by(first, ASK) == ["True"]


def test_a_user_can_keep_telemetry_on():
    own = "import os; os.environ['MLFLOW_DISABLE_TELEMETRY'] = 'false'"
    assert printed_by(own, "import nmlab.reports.read.store, mlflow", ASK) == ["False"]


def test_every_file_that_imports_mlflow_imports_the_settings_first():
    importing = [
        path for room in ("platform", "reports") for path in (ROOT / room).rglob("*.py") if _imports(path, "mlflow")
    ]
    assert len(importing) >= 3
    for path in importing:
        if path.name != "settings.py":
            assert _imports(path, "nmlab.reports.read.mlflow_access"), path


def _imports(path, package):
    """Return whether a file imports a package or one of its modules."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
    return any(f"{name}.".startswith(f"{package}.") for name in names)

"""The walk-throughs in examples/ run as they stand, in an empty folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray
THOROUGH = pytest.mark.thorough

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "left"),
    [
        # A sweep with its report, from Python, is that of the notebook; the formats are those of the tests of exports.
        pytest.param("sweep_and_report.sh", ["report/report.html", "pruned-elsewhere/README.md"], marks=THOROUGH),
        ("bring_your_own_model.sh", ["my-model/config.json", "nmlab.db"]),
        pytest.param("export_and_reload.sh", ["mask/mask.safetensors", "onnx/model.onnx"], marks=THOROUGH),
    ],
)
def test_a_walk_through_runs(tmp_path, commands, name, left):
    if name != "sweep_and_report.sh":
        for package in ("lm_eval", "onnxruntime"):
            pytest.importorskip(package, reason="needs the extras `tasks` and `onnx`")
    path = os.pathsep.join([str(commands.folder), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    for name_of_store in ("MLFLOW_TRACKING_URI", "NMLAB_RESULTS"):
        environment.pop(name_of_store, None)
    done = subprocess.run(
        ["bash", str(EXAMPLES / name)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert all((tmp_path / path).is_file() for path in left)


def test_every_walk_through_is_run():
    given = test_a_walk_through_runs.pytestmark[0].args[1]
    run = {getattr(parameters, "values", parameters)[0] for parameters in given}
    assert run == {path.name for path in EXAMPLES.glob("*.sh")}

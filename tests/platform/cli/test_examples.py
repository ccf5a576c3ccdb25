"""The walk-throughs in examples/ run as they stand, in an empty folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("sweep_and_report.sh", ["report/report.html", "pruned-elsewhere/README.md"]),
        ("bring_your_own_model.sh", ["my-model/config.json", "nmlab.db"]),
        ("export_and_reload.sh", ["mask/mask.safetensors", "pruned/model.safetensors", "onnx/model.onnx"]),
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
    run = {parameters[0] for parameters in test_a_walk_through_runs.pytestmark[0].args[1]}
    assert run == {path.name for path in EXAMPLES.glob("*.sh")}

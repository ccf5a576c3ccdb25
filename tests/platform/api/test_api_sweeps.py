"""Sweeps from Python: on the caller's Ray, in a Ray task, after Ctrl-C, without Ray, and in a notebook."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import ray
from launched import GRID
from mlflow.tracking import MlflowClient

import nmlab

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[3]
TINY = {
    **GRID,
    "name": "tiny",
    "data": {
        "calibration": {"source": "builtin:python-docs", "samples": 4, "sequence_length": 32, "batch_size": 2},
        "evaluation": {"source": "builtin:python-docs", "sequence_length": 32, "windows": 4},
    },
    "fixed": {"steps": 4, "learning_rate": 2.0, "logit_magnitude": 4.0},
    "baselines": ["dense"],
    "replica": {"count": 1, "slots": 2},
}
PLANNED = 1 + 2 * 2


def of_process():
    """Return the signal handlers of this process, and Ray's part of its environment."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    return handlers, {name: value for name, value in os.environ.items() if name.startswith(("RAY_", "TUNE_"))}


@pytest.fixture(scope="module")
def own_ray():
    """A local Ray as a user starts it, shared by the tests of this file."""
    ray.init("local", num_cpus=3, include_dashboard=False, log_to_driver=False, object_store_memory=10**8)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("api")


@pytest.fixture(scope="module")
def places(folder, migrated_database):
    """A store and a results folder, as arguments."""
    (folder / "nmlab.db").write_bytes(migrated_database.read_bytes())
    return {"results": folder / "results", "tracking_uri": f"sqlite:///{folder / 'nmlab.db'}"}


@pytest.fixture(scope="module")
def swept(own_ray, folder, places):
    """A launch on the caller's Ray, and what the process had set before."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        process = of_process()
        return nmlab.sweep(nmlab.load_study(TINY), progress=False, **places), process
    finally:
        os.chdir(before)


def test_a_sweep_uses_the_callers_ray_and_leaves_it_as_it_was(swept):
    result, process = swept
    assert (result.status, result.counts, result.is_success) == ("finished", {"finished": PLANNED}, True)
    assert (result.model_loads, result.frozen_weights, result.undelivered) == (1, "verified", "")
    assert ray.is_initialized()
    assert ray.get(ray.remote(lambda: 7).remote()) == 7
    assert of_process() == process
    assert json.loads((result.folder / "launch.json").read_text())["address"] is None


def test_its_frames_have_a_row_for_each_trial_and_configuration(swept):
    result, _ = swept
    assert len(result.trials) == PLANNED
    assert (result.trials["status"] == "finished").all()
    assert str(result.trials["alpha"].dtype) == "float64"
    own = result.configurations[result.configurations["role"] == "search"]
    assert sorted(own["alpha"]) == [0.9, 0.99]
    assert own["n"].tolist() == [2, 2]
    assert own["rank"].tolist() == [1, 2]
    best = result.best()
    assert (best.key, best.mean) == (own.iloc[0]["configuration"], own.iloc[0]["mean"])
    written = json.loads((result.page.parent / "report.json").read_text())
    assert f"{best.mean:.4g}"[:4] in json.dumps(written)


def test_its_mask_makes_the_model_that_was_evaluated(swept, folder):
    result, _ = swept
    trial = result.best().trial
    model = trial.mask.apply()
    assert float((model.get_submodule(trial.mask.layers[0]).weight == 0).float().mean()) == 0.5
    found = nmlab.evaluate(trial, results=folder / "results", tracking_uri=result.tracking_uri)
    assert found.perplexity == pytest.approx(trial.perplexity)
    assert list(trial.history().index)[-1] == 4


def test_it_is_found_again_and_reported(swept, places, folder):
    result, _ = swept
    again = nmlab.load_result(result.launch, **places)
    assert again.record().items() >= {"status": "finished", "launch": str(result.folder)}.items()
    assert again.counts == result.counts
    assert again.trials.equals(result.trials)
    assert nmlab.load_result("tiny", **places).launch == result.launch
    assert nmlab.load_result(result.best().trial.run_id, **places).folder == result.best().trial.folder
    report = again.report(folder / "report")
    assert "<iframe" in report._repr_html_()
    assert report.headline == result.headline
    assert nmlab.report("tiny", output=folder / "again", **places).headline == report.headline
    assert nmlab.status(result.launch, results=places["results"]).phase == "finished"
    assert len(nmlab.compare(["tiny"], rows=["alpha"], tracking_uri=places["tracking_uri"]).frame()) >= 2
    assert nmlab.clean(result.launch, results=places["results"]).bytes.get("checkpoints", 0) >= 0


def test_a_finished_launch_is_resumed_without_running_anything(swept, places):
    result, _ = swept
    again = nmlab.resume(result, progress=False, report=False, results=places["results"])
    assert (again.status, again.model_loads, again.counts) == ("finished", 0, result.counts)


def test_it_runs_in_a_ray_task(own_ray, folder, places, capfd):
    @ray.remote
    def inside(study, places):
        import nmlab

        result = nmlab.sweep(study, progress=False, report=False, **places)
        return result.status, dict(result.counts), json.loads((result.folder / "launch.json").read_text())["address"]

    study = {**TINY, "name": "in-a-task", "seeds": [0], "space": {"alpha": {"grid": [0.9]}}}
    assert ray.get(inside.options(num_cpus=1).remote(study, places)) == ("finished", {"finished": 2}, "auto")


def test_ctrl_c_saves_everything_and_stops_the_script(own_ray, places):
    """As in a notebook: the process, its Ray and its handlers stay; the launch goes on later to its planned end."""
    study = nmlab.load_study({**TINY, "name": "interrupted", "seeds": [0]}).with_overrides(
        fixed={"steps": 600}, intervals={"log_every": 5}, baselines=[]
    )
    handler = signal.getsignal(signal.SIGINT)

    def interrupt():
        while not any(
            record.get("event") == "metrics" and record["step"] > 5 for record in _journal(places, study.name)
        ):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt) as stopped:
        nmlab.sweep(study, progress=False, **places)
    assert isinstance(stopped.value, nmlab.SweepInterrupted)
    result = stopped.value.result
    assert (result.status, result.interrupted) == ("stopped", True)
    assert (
        str(stopped.value) == f"launch {result.launch} is stopped and saved; resume('{result.launch}') goes on with it"
    )
    assert list(result.folder.glob("trials/*/checkpoint-*"))
    assert signal.getsignal(signal.SIGINT) == handler
    assert ray.is_initialized()
    ended = nmlab.resume(result, progress=False, report=False, results=places["results"])
    assert (ended.status, ended.counts) == ("finished", {"finished": 2})
    assert len(ended.trials) == 2


def _journal(places, study):
    for path in (places["results"] / study).glob("*/journal.jsonl"):
        yield from (json.loads(line) for line in path.read_text().splitlines() if line.endswith("}"))


def test_what_does_not_fit_is_an_exception_with_one_line(own_ray, places):
    with pytest.raises(ValueError, match="address 'local': this process is connected to the Ray at"):
        nmlab.sweep(TINY, address="local", progress=False, **places)
    with pytest.raises(ValueError, match=r"100000"):
        nmlab.sweep(TINY, overrides=["data.evaluation.sequence_length=100000"], progress=False, **places)
    assert ray.is_initialized()


SCRIPT = """
import json, os, sys
import ray
import nmlab

study = nmlab.load_study(json.loads(sys.argv[1]))
os.environ["RAY_ADDRESS"] = "127.0.0.1:1"  # nothing listens there; a sweep must not look

def of_ray():
    return {name: value for name, value in os.environ.items() if name.startswith(("RAY_", "TUNE_", "no_proxy"))}


before = of_ray()
first = nmlab.sweep(study, report=False)
assert first.is_success and not ray.is_initialized(), first
assert of_ray() == before
del os.environ["RAY_ADDRESS"]

ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=10**8, namespace="mine")
second = nmlab.sweep(study.with_overrides(name="second"), report=False, progress=False)
assert second.is_success and ray.is_initialized()
assert ray.get(ray.remote(lambda: 3).remote()) == 3
addresses = {node["NodeManagerAddress"] for node in ray.nodes()}
ray.shutdown()
same = [result.trials.set_index("trial")["eval/perplexity"] for result in (first, second)]
assert same[0].equals(same[1]), same
print("done", first.launch)
"""


def test_a_script_may_use_ray_before_and_after(tmp_path, migrated_database):
    """First without Ray, which starts one of its own with a token; then on a Ray of the script, which has none."""
    (tmp_path / "nmlab.db").write_bytes(migrated_database.read_bytes())
    study = {**TINY, "seeds": [0], "space": {"alpha": {"grid": [0.9]}}}
    hidden = ("MLFLOW_TRACKING_URI", "NMLAB_RESULTS", "RAY_ADDRESS")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(study)],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name not in hidden},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("tiny: 2 trials, launch tiny-")
    assert [line.partition("]")[0] for line in lines[1:3]] == ["[1/2", "[2/2"]
    assert lines[-1].startswith("done tiny-")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'nmlab.db'}")
    assert {each.name for each in client.search_experiments()} >= {"tiny", "second"}


def test_the_notebook_runs(tmp_path):
    """In a kernel, where an event loop runs, from the sweep to the report."""
    nbclient = pytest.importorskip("nbclient", reason="needs the extra `notebook`")
    nbformat = pytest.importorskip("nbformat", reason="needs the extra `notebook`")
    notebook = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "it is kept without outputs"
    client = nbclient.NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert [output for output in outputs if output.output_type == "error"] == []
    pages = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert any("configuration" in page and "<table" in page for page in pages)
    assert any("<iframe" in page for page in pages)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert (tmp_path / "results").is_dir()

"""Sweeps from Python: on the caller's Ray and in a Ray task, after Ctrl-C, without Ray, and in a notebook."""

import json
from pathlib import Path

import pytest
from scripted import LEARNED, PLANNED, STEPS

import nmlab

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def result(scripted):
    """The launch of the script, as another process finds it."""
    return nmlab.load_result(scripted.found["resumed"]["launch"], **scripted.places)


def test_ctrl_c_saves_everything_and_stops_the_script(scripted):
    """As in a notebook: the process, its Ray and its handlers stay, and the launch goes on later."""
    stopped = scripted.found["stopped"]
    launch = stopped["launch"]
    assert stopped["type"]
    assert stopped["text"] == f"launch {launch} is stopped and saved; resume('{launch}') goes on with it"
    assert (stopped["status"], stopped["interrupted"]) == ("stopped", True)
    assert stopped["counts"].get("finished", 0) < PLANNED
    assert stopped["checkpoints"] > 0


def test_an_interrupted_launch_goes_on_to_its_planned_end(scripted):
    resumed = scripted.found["resumed"]
    assert resumed["launch"] == scripted.found["stopped"]["launch"]
    assert (resumed["status"], resumed["counts"], resumed["is_success"]) == ("finished", {"finished": PLANNED}, True)
    assert (resumed["model_loads"], resumed["frozen_weights"], resumed["undelivered"]) == (1, "verified", "")


def test_a_sweep_uses_the_callers_ray_and_leaves_it_as_it_was(scripted):
    process = scripted.found["process"]
    assert (process["is as it was"], process["goes on"]) == (True, 7)
    record = json.loads((scripted.launched.launch / "launch.json").read_text())
    assert record["address"] is None, "that Ray ends with the script"


def test_a_launch_runs_in_a_ray_task(scripted):
    inside = scripted.found["in a task"]
    assert (inside["status"], inside["model_loads"], inside["frozen_weights"]) == ("finished", 1, "verified")
    assert "1000000 slot(s)" in inside["refused"]
    assert json.loads((scripted.earlier.launch / "launch.json").read_text())["address"] == "auto"


def test_what_does_not_fit_is_an_exception_with_one_line(scripted):
    address, length = scripted.found["refused"]
    assert address.startswith("address 'local': this process is connected to the Ray at ")
    assert "100000" in length
    assert "\n" not in address + length


def test_a_script_prints_what_begins_and_a_line_for_each_trial_that_ends(scripted):
    lines = scripted.printed.splitlines()
    assert lines[0] == f"scripted: {PLANNED} trials, launch {scripted.found['resumed']['launch']}"
    assert [line.partition("]")[0] for line in lines if line.startswith("[")][-1] == f"[{PLANNED}/{PLANNED}"


def test_its_frames_have_a_row_for_each_trial_and_configuration(result):
    assert len(result.trials) == PLANNED
    assert (result.trials["status"] == "finished").all()
    assert str(result.trials["alpha"].dtype) == "float64"
    own = result.configurations[result.configurations["role"] == "search"]
    assert sorted(own["alpha"].dropna()) == [0.9, 0.99]
    assert own["n"].tolist() == [2] * (LEARNED // 2)
    assert own["rank"].tolist() == [1, 2, 3]
    best = result.best()
    assert (best.key, best.mean) == (own.iloc[0]["configuration"], own.iloc[0]["mean"])
    written = json.loads((result.folder / "report" / "report.json").read_text())
    assert f"{best.mean:.4g}"[:4] in json.dumps(written)


def test_its_mask_makes_the_model_that_was_evaluated(result, scripted):
    trial = result.best(method="maskpro").trial
    model = trial.mask.apply()
    assert float((model.get_submodule(trial.mask.layers[0]).weight == 0).float().mean()) == 0.5
    found = nmlab.evaluate(trial, **scripted.places)
    assert found.perplexity == pytest.approx(trial.perplexity)
    assert list(trial.history().index)[-1] == STEPS


def test_it_is_found_again_and_reported(result, scripted, tmp_path):
    places = scripted.places
    resumed = scripted.found["resumed"]
    assert result.record().items() >= {"status": "finished", "launch": str(result.folder)}.items()
    assert dict(result.counts) == resumed["counts"]
    assert nmlab.load_result("scripted", **places).launch == result.launch
    assert nmlab.load_result(result.best().trial.run_id, **places).folder == result.best().trial.folder
    report = result.report(tmp_path / "report")
    assert "<iframe" in report._repr_html_()
    assert list(report.headline) == resumed["headline"] != []
    assert Path(resumed["page"]).is_file()
    assert nmlab.status(result.launch, results=places["results"]).phase == "finished"
    assert len(nmlab.compare(["scripted"], rows=["alpha"], tracking_uri=places["tracking_uri"]).frame()) >= 2
    assert nmlab.clean(result.launch, results=places["results"]).bytes["checkpoints"] > 0


def test_a_finished_launch_is_resumed_without_running_anything(scripted):
    again, process = scripted.found["resumed again"], scripted.found["process"]
    assert (again["status"], again["model_loads"]) == ("finished", 0)
    assert again["counts"] == scripted.found["resumed"]["counts"]
    assert process["starts Ray for nothing"] is False


BEFORE = """
import os

os.environ["RAY_ADDRESS"] = "127.0.0.1:1"  # nothing listens there; a sweep must not look

def of_ray():
    return {name: value for name, value in os.environ.items() if name.startswith(("RAY_", "TUNE_", "no_proxy"))}

before = of_ray()
"""
AFTER = """
import ray

assert not ray.is_initialized()
assert of_ray() == before
del os.environ["RAY_ADDRESS"]
ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=10**8)
assert ray.get(ray.remote(lambda: 3).remote()) == 3
ray.shutdown()
"""


def test_the_notebook_runs(tmp_path):
    """In a kernel, where an event loop runs, from the sweep to the report.

    The sweep starts a Ray of its own, with a token; the process may then start another one, which has none.
    """
    nbclient = pytest.importorskip("nbclient", reason="needs the extra `notebook`")
    nbformat = pytest.importorskip("nbformat", reason="needs the extra `notebook`")
    notebook = nbformat.read(ROOT / "examples" / "notebook.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "it is kept without outputs"
    first, last = map(nbformat.v4.new_code_cell, (BEFORE, AFTER))
    notebook.cells = [first, *notebook.cells, last]
    client = nbclient.NotebookClient(notebook, timeout=500, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert [output for output in outputs if output.output_type == "error"] == []
    pages = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert any("configuration" in page and "<table" in page for page in pages)
    assert any("<iframe" in page for page in pages)
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert (tmp_path / "results").is_dir()

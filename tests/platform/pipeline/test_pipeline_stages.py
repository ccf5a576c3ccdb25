"""A replica with pipeline stages on several Train workers: its results are those of one worker."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from nmlab.platform.planning.checks import check_pipeline_stages
from nmlab.platform.planning.study_plan import plan_study
from nmlab.search_spaces import loader

NMLAB = Path(sys.executable).with_name("nmlab")
STEPS = 400
STUDY = {
    "name": "sharded",
    "model": {"source": "builtin:tiny"},
    "data": {
        "calibration": {"source": "builtin:python-docs", "samples": 32, "sequence_length": 128, "batch_size": 16},
        "evaluation": {"source": "builtin:python-docs", "sequence_length": 64, "windows": 16},
    },
    "pattern": "2:4",
    "method": "maskpro",
    "fixed": {"steps": STEPS, "learning_rate": 2.0, "logit_magnitude": 4.0, "initial_mask": "wanda"},
    "space": {"alpha": {"grid": [0.9, 0.99]}},
    "baselines": ["dense", {"method": "susi", "steps": 20}],
    "search": {"algorithm": "grid"},
    "seeds": [0],
    "intervals": {"log_every": 10, "checkpoint_every": 20},
}
TINY_BLOCKS = 2


def study(**replica):
    return loader.load("quickstart", overrides=[f"replica.{name}={value}" for name, value in replica.items()])


def test_more_stages_than_blocks_are_refused_before_anything_starts():
    with pytest.raises(
        ValueError, match=r"replica\.pipeline_stages = 3: builtin:tiny has 2 decoder blocks; expected at most 2"
    ):
        plan_study(study(pipeline_stages=3))
    assert plan_study(study(pipeline_stages=TINY_BLOCKS)).study.replica.pipeline_stages == TINY_BLOCKS


def test_methods_that_need_the_whole_model_are_refused_by_name():
    methods = ["maskpro", "proxsparse", "wanda", "susi"]
    with pytest.raises(
        ValueError, match=r"pipeline_stages = 2: proxsparse works on whole models only; use pipeline_stages: 1"
    ):
        check_pipeline_stages(study(pipeline_stages=2), methods, blocks=8)
    check_pipeline_stages(study(pipeline_stages=1), methods, blocks=8)


def test_tasks_are_refused_with_pipeline_stages():
    asked = loader.load("quickstart", overrides=["replica.pipeline_stages=2", "data.evaluation.tasks=[piqa]"])
    with pytest.raises(ValueError, match=r"pipeline_stages = 2: tasks need a whole model; .* or tasks: \[\]"):
        check_pipeline_stages(asked, [], blocks=8)


class Sweep:
    """A sweep in its own process session, which tells its processes from others."""

    def __init__(self, folder, **replica):
        self.folder = folder
        (folder / "study.yaml").write_text(yaml.safe_dump({**STUDY, "replica": {"count": 1, "slots": 2, **replica}}))
        command = [NMLAB, "sweep", "study.yaml", "--json", "--no-report"]
        environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
        with (folder / "out.txt").open("w") as out:
            self.process = subprocess.Popen(
                command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=environment, start_new_session=True
            )

    def journal(self):
        """Return the records of the journal's whole lines so far."""
        lines = [line for path in self.folder.glob("results/*/*/journal.jsonl") for line in path.open()]
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def events(self, kind):
        return [record for record in self.journal() if record["event"] == kind]

    def wait_until(self, condition, *, seconds=150):
        deadline = time.monotonic() + seconds
        while not (answer := condition()):
            assert self.process.poll() is None, (self.folder / "out.txt").read_text()
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.05)
        return answer

    def finish(self):
        """Wait for the end; return the result of each trial, by its key."""
        assert self.process.wait(280) == 0, (self.folder / "out.txt").read_text()
        return {
            path.parent.name: _result_of(path.parent) for path in self.folder.glob("results/*/*/trials/*/trial.json")
        }

    def end(self):
        """Kill every process of the sweep that still runs."""
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                if int(stat.read_text().rpartition(")")[2].split()[3]) == self.process.pid:
                    os.kill(int(stat.parent.name), signal.SIGKILL)
            except (OSError, ProcessLookupError):
                continue  # it ended while we looked
        self.process.wait()


def _result_of(folder):
    """Return everything of a trial that must not depend on where it ran."""
    record = json.loads((folder / "trial.json").read_text())
    result = {name: value for name, value in record["metrics"].items() if name.startswith(("eval/", "cost/forwards"))}
    for name in ("steps.npz", "evaluation.npz"):
        if (folder / name).exists():
            with np.load(folder / name) as arrays:
                result |= {f"{name}/{array}": arrays[array].tolist() for array in arrays.files}
    mask = folder / "mask.safetensors"
    return {**result, "mask": mask.read_bytes() if mask.exists() else None, "model": record["model_digest"]}


@pytest.fixture
def start(tmp_path_factory):
    """Start a sweep, which is ended with the test in any case."""
    started = []

    def begin(**replica):
        started.append(Sweep(tmp_path_factory.mktemp("sweep"), **replica))
        return started[-1]

    yield begin
    for sweep in started:
        sweep.end()


def _in_the_middle(sweep):
    """Return the replica's record once both learned trials are between a checkpoint and their end."""
    steps = {record["key"]: record["step"] for record in sweep.events("metrics")}
    ended = {record["key"] for record in sweep.events("ended")}
    running = [key for key, step in steps.items() if key not in ended and 40 <= step < STEPS - 100]
    return sweep.events("replica")[-1] if len(running) == 2 else None


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_replica_of_two_stages_that_loses_one_gives_the_results_of_one_worker(start):
    """A stage is killed while two trials run: Train starts both stages again, and the trials go on."""
    whole = start(pipeline_stages=1).finish()
    sweep = start(pipeline_stages=2)
    before = sweep.wait_until(lambda: _in_the_middle(sweep))
    assert [stage["layers"] for stage in before["shards"]] == [7, 7]
    os.kill(before["shards"][1]["pid"], signal.SIGKILL)
    staged = sweep.finish()
    assert staged == whole
    assert len(whole) == 4
    first, second = sweep.events("replica")
    assert {stage["pid"] for stage in first["shards"]}.isdisjoint(stage["pid"] for stage in second["shards"])
    attempts = [record["attempt"] for record in sweep.events("leased")]
    assert attempts.count(2) == 2
    assert not [record for record in sweep.events("ended") if record["result"]["status"] != "finished"]
    printed = (sweep.folder / "out.txt").read_text()
    assert json.loads(printed[printed.index("{\n") :])["frozen_weights"] == "verified"

"""A real sweep that stops configurations early; its driver is killed after the first stop, and the launch resumed."""

import json
import signal
import subprocess
from collections import defaultdict

import optuna
import pytest
import yaml
from launched import GRID, NMLAB, check_complete, keys, kill_session
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RATES = [0.3, 0.1, 0.03, 0.001, 0.00001]
STUDY = {
    **GRID,
    "name": "early",
    "method": "susi",
    "fixed": {"steps": 60},
    "space": {"learning_rate": {"choice": RATES}},
    "baselines": ["magnitude"],
    "search": {
        "algorithm": "random",
        "samples": 5,
        "initial_points": [{"learning_rate": rate} for rate in RATES],
        "scheduler": "asha",
    },
    "replica": {"count": 1, "slots": 2},
    "intervals": {"evaluate_every": 10, "checkpoint_every": 10},
}


def test_configurations_that_fall_behind_are_stopped_as_a_whole_across_a_kill(new_nmlab):
    nmlab = new_nmlab("early")
    (nmlab.folder / "early.yaml").write_text(yaml.safe_dump(STUDY))
    process = nmlab.start("sweep", "early.yaml", "--json", "--no-report")
    try:
        nmlab.wait_until(nmlab.journal, process=process, what="the launch had begun")
        assert refusal(nmlab).startswith(f"nmlab: launch {nmlab.launch.name} is owned by process {process.pid} of ")
        nmlab.wait_until(lambda: stopped(nmlab), process=process, what="a trial was stopped early")
    finally:
        kill_session(process.pid)
    assert process.wait(30) == -signal.SIGKILL
    printed = nmlab.finish(nmlab.start("resume", "--json", "--no-report"))
    assert printed["status"] == "finished"
    _, children = check_complete(nmlab, planned=1 + 5 * 2, frozen=("verified", "unverified"))
    statuses = defaultdict(set)
    for run in children:
        statuses[run.data.params.get("learning_rate")].add(run.data.tags["nmlab.status"])
    assert statuses["1e-05"] == {"stopped"}, "it does not move from its start while four others learn"
    assert statuses["0.3"] == statuses["0.1"] == statuses["0.03"] == {"finished"}, "fewer than four stop none"
    assert not any({"stopped", "finished"} <= found for found in statuses.values())
    assert optuna_states(nmlab)["1e-05"] == "PRUNED"
    assert len(keys(nmlab.journal(), "ended")) == 11
    assert "at step 20 its mean over 2 seeds is" in stopped(nmlab)[0]["reason"]


def refusal(nmlab):
    """Return the error of a second process that is to resume the launch."""
    second = subprocess.run([NMLAB, "resume", "--json"], cwd=nmlab.folder, capture_output=True, text=True, check=False)
    assert (second.returncode, second.stdout) == (2, "")
    (line,) = second.stderr.splitlines()
    return line


def stopped(nmlab):
    """Return the results of the trials that were stopped for good."""
    ended = [record["result"] for record in nmlab.journal() if record["event"] == "ended"]
    return [result for result in ended if result["status"] == "stopped" and not result["resumable"]]


def optuna_states(nmlab):
    """Return Optuna's state of each learning rate."""
    storage = JournalStorage(JournalFileBackend(str(nmlab.launch / "optuna.journal")))
    trials = optuna.load_study(study_name="early", storage=storage).trials
    known = [trial for trial in trials if "nmlab:configuration" in trial.user_attrs]  # one may have been cut short
    return {json.dumps(t.user_attrs["nmlab:configuration"]["learning_rate"]): t.state.name for t in known}

"""What is said of nodes that were refused, and of files that the driver cannot read."""

from dataclasses import replace

import pytest

from nmlab.platform.launches import trial_ends
from nmlab.platform.launches.launch import Launch
from nmlab.platform.launches.node_trouble import NodeTrouble
from nmlab.platform.launches.trial_ends import why_unreadable
from nmlab.platform.records.events import ReplicaRefused, ResultRefused, TrialEnded
from nmlab.trials.files.file_digest import describe_files


@pytest.fixture
def ended(tmp_path, monkeypatch):
    monkeypatch.setattr(trial_ends, "SLOW_FILES_SECONDS", 0.3)
    folder = Launch(tmp_path).trial_folder("k")
    folder.mkdir(parents=True)
    (folder / "trial.json").write_text("{}")
    files = describe_files(folder, ["trial.json"])
    return TrialEnded(key="k", result={"status": "finished", "files": files})


def test_an_end_is_accepted_with_files_that_can_be_read(ended, tmp_path):
    assert why_unreadable(ended, launch=Launch(tmp_path)) == ""
    (Launch(tmp_path).trial_folder("k") / "trial.json").unlink()
    assert why_unreadable(ended, launch=Launch(tmp_path)) == "trial.json cannot be read: No such file or directory"
    del ended.result["files"]
    assert why_unreadable(ended, launch=Launch(tmp_path)) == "its result has no digests of its files"
    ended.result["status"] = "diverged"
    assert why_unreadable(ended, launch=Launch(tmp_path)) == ""


def test_nodes_are_named():
    trouble = NodeTrouble()
    trouble.collect(ReplicaRefused(reason="a on node x: no", nodes=["n1"], host="a"), replicas={})
    record = ResultRefused(host="a", key="k", reason="trial.json cannot be read")
    assert trouble.collect(record, replicas={"a": {"node": "10.0.0.2"}}) == replace(record, node="10.0.0.2")
    assert trouble.lines == {
        "node n1": "refused: a on node x: no",
        "node 10.0.0.2": "a on node 10.0.0.2 left trial k unreadable: trial.json cannot be read; it is run again",
    }

"""A launch that commit 32ecf56 made, and whose driver was killed in mid-sweep, can be used and continued today.

The archive has the study and its texts, the store with its artifacts, and the launch's folder: two baselines and two
trials have finished, one trial has finished but its end was never received, one had not begun.
"""

import json
import sqlite3
import tarfile
from pathlib import Path

import pytest
from launched import Nmlab, check_complete, keys

ARCHIVE = Path(__file__).parents[2] / "kept" / "launch-32ecf56.tar.xz"
MADE_IN = "/tmp/oldfix"
FINISHED = {"0aa7b6fc8c222069", "00054e83afb17b6d", "de8cfe1da11088fc", "be4c9e20a914ccdb"}
UNRECEIVED = "a5a401532b89a918"
STORE = ("--tracking-uri", "sqlite:///nmlab.db")


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """Return a copy of the launch whose store knows its new place."""
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    with sqlite3.connect(folder / "nmlab.db") as database:
        for table, column in (("runs", "artifact_uri"), ("experiments", "artifact_location")):
            database.execute(f"update {table} set {column} = replace({column}, ?, ?)", (MADE_IN, str(folder)))
    return Nmlab(folder, "old-grid")


def printed(nmlab, *arguments):
    """Return what a command prints as JSON."""
    return nmlab.finish(nmlab.start(*arguments, "--json"))


def test_its_state_is_told(earlier):
    found = printed(earlier, "status")
    assert found["launch"] == earlier.launch.name
    assert found["ended"] == len(FINISHED)


def test_it_is_reported_and_compared(earlier):
    process = earlier.start("report", "old-grid", *STORE, "--output", "report")
    assert process.wait(120) == 0, (earlier.folder / "err.txt").read_text()
    report = json.loads((earlier.folder / "report" / "report.json").read_text())
    assert report["study"] == "old-grid"
    (runs,) = (table for table in report["tables"] if table["key"] == "runs")
    assert len(runs["rows"]) >= len(FINISHED)
    process = earlier.start("compare", "old-grid", *STORE)
    assert process.wait(120) == 0, (earlier.folder / "err.txt").read_text()
    assert "maskpro" in (earlier.folder / "out.txt").read_text()


def test_a_trial_of_it_is_evaluated_and_exported(earlier):
    key = sorted(FINISHED - set(rules(earlier)))[0]
    recorded = json.loads((earlier.launch / "trials" / key / "trial.json").read_text())["metrics"]["eval/perplexity"]
    found = printed(earlier, "evaluate", key, *STORE)
    assert found["metrics"]["eval/perplexity"] == pytest.approx(recorded, rel=1e-6)
    process = earlier.start("export", key, "--format", "hf", "--output", "exported", *STORE)
    assert process.wait(120) == 0, (earlier.folder / "err.txt").read_text()
    assert (earlier.folder / "exported" / "model.safetensors").is_file()


def rules(nmlab):
    """Return the keys of the baselines."""
    return [
        record["key"]
        for record in nmlab.journal()
        if record["event"] == "trial" and record["spec"]["method"] in ("dense", "magnitude")
    ]


@pytest.mark.slow
def test_it_is_resumed(earlier):
    """Finished trials are kept, the one whose end was not received reports it again, and every point is there once."""
    before = earlier.journal()
    found = printed(earlier, "resume", "--no-report", *STORE)
    assert found["counts"] == {"finished": 6}
    check_complete(earlier, planned=6)
    since = earlier.journal()[len(before) :]
    assert not FINISHED & set(keys(since, "leased"))
    assert keys(since, "leased").count(UNRECEIVED) == 1
    assert set(keys(earlier.journal(), "ended")) > FINISHED

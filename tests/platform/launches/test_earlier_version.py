"""A launch that commit 32ecf56 made, and whose driver was killed in mid-sweep, can be used and continued today."""

import json

import pytest
from earlier import FINISHED, UNRECEIVED, earlier_launch

from nmlab.platform import cli
from nmlab.platform.testing.real_launches.launched import check_complete, keys

pytestmark = pytest.mark.ray

STORE = ("--tracking-uri", "sqlite:///nmlab.db")


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    return earlier_launch(tmp_path_factory.mktemp("earlier"))


@pytest.fixture
def command(earlier, monkeypatch, capsys):
    """Return a function that runs a command in the launch's folder, in this process, and returns what it prints."""
    monkeypatch.chdir(earlier.folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["nmlab", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        printed = capsys.readouterr()
        assert not exit_.value.code, printed.err
        return printed.out

    return run


def test_its_state_is_told(earlier, command):
    found = json.loads(command("status", "--json"))
    assert found["launch"] == earlier.launch.name
    assert found["ended"] == len(FINISHED)


def test_it_is_reported_and_compared(earlier, command):
    command("report", "old-grid", *STORE, "--output", "report")
    report = json.loads((earlier.folder / "report" / "report.json").read_text())
    assert report["study"] == "old-grid"
    (runs,) = (table for table in report["tables"] if table["key"] == "runs")
    assert len(runs["rows"]) >= len(FINISHED)
    assert "maskpro" in command("compare", "old-grid", *STORE)


def test_a_trial_of_it_is_evaluated_and_exported(earlier, command):
    key = sorted(FINISHED - set(rules(earlier)))[0]
    recorded = json.loads((earlier.launch / "trials" / key / "trial.json").read_text())["metrics"]["eval/perplexity"]
    found = json.loads(command("evaluate", key, *STORE, "--json"))
    assert found["metrics"]["eval/perplexity"] == pytest.approx(recorded, rel=1e-6)
    command("export", key, "--format", "hf", "--output", "exported", *STORE)
    assert (earlier.folder / "exported" / "model.safetensors").is_file()


def rules(nmlab):
    """Return the keys of the baselines."""
    return [
        record["key"]
        for record in nmlab.journal()
        if record["event"] == "trial" and record["spec"]["method"] in ("dense", "magnitude")
    ]


def test_another_launch_would_start_from_it(earlier, command):
    """Its own study, searched: one configuration enters, the other had not ended."""
    study = ("--set", "search={algorithm: tpe, samples: 2}", "--set", "space.alpha={choice: [0.9, 0.99]}")
    file = str(earlier.launch / "study.yaml")
    plan = json.loads(command("plan", file, *study, "--warm-start", "old-grid", *STORE, "--json"))
    assert plan["warm start"] == [
        f"{earlier.launch.name}: 1 configuration with outcomes (1 complete), told by the means over its seeds 0, 1; "
        "left out: 1 not ended"
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_is_resumed_and_extended(earlier, scripted):
    """Finished trials are kept, the one whose end was not received reports it again, and every point is there once."""
    resumed, before = scripted.earlier, earlier.journal()
    assert scripted.found["in a task"]["counts"] == {"finished": 6}
    assert scripted.found["in a task"]["extended"]["counts"] == {"finished": 2 + 3 * 3}
    check_complete(resumed, trials=2 + 3 * 3)
    assert resumed.journal()[: len(before)] == before
    since = resumed.journal()[len(before) :]
    assert not FINISHED & set(keys(since, "leased"))
    assert keys(since, "leased").count(UNRECEIVED) == 1
    assert set(keys(resumed.journal(), "ended")) > FINISHED


def test_it_can_be_extended(earlier, command):
    """That runs in `test_it_is_resumed_and_extended`; kills meanwhile are in ``test_faults.py``."""
    found = json.loads(command("extend", "old-grid", "--set", "seeds=[0, 1, 2]", "--dry-run", "--json"))
    assert (found["version"], found["trials before"], found["trials"]) == (2, 6, 8)
    assert found["changes"] == {"seeds": {"before": [0, 1], "after": [0, 1, 2]}}

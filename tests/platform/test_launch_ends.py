"""What `nmlab resume` prints and returns for launches whose trials have all ended; no Ray is started."""

import json
import shlex
from dataclasses import replace

import pytest
from receivers import SECRET, Receiver

from nmlab.platform import cli
from nmlab.platform.launches import launch as launches
from nmlab.platform.launches.journal import Journal
from nmlab.platform.planning.listing import list_trials
from nmlab.platform.records.events import ReplicaStarted, TrialEnded, TrialMetrics, TrialSubmitted, WeightsChecked
from nmlab.platform.sweep import LaunchEnding, Sweep

GRID = (
    "baselines=[]",
    "search={algorithm: grid}",
    "space={alpha: {grid: [0.9, 0.99]}}",
    "fixed={steps: 4, learning_rate: 2.0, logit_magnitude: 4.0}",
    "seeds=[0]",
)
REPLICA = ReplicaStarted(host="replica-0", incarnation=1, loads=1, pid=7, slots=1, device="cpu")


@pytest.fixture
def ended_launch(plan_of, tracking_uri, tmp_path):
    """Make a launch of two trials that ended so: ended_launch("finished", "diverged")."""

    def make(*statuses, loads=2):
        plan = plan_of(*GRID)
        settings = {"tracking_uri": tracking_uri, "address": None, "max_failures": 3}
        launch = launches.create(plan.study, results=tmp_path / "results", settings=settings)
        journal = Journal(launch)
        journal.write([replace(REPLICA, model_digest="d" * 16, shards=[{}])] * loads)
        journal.write([WeightsChecked(host="replica-0", unchanged=True)])
        for spec, status in zip(list_trials(plan).specs, statuses, strict=True):
            result = {"key": spec.key, "status": status, "step": 4, "metrics": {}, "reason": "", "artifacts": ()}
            begun = TrialSubmitted(key=spec.key, spec=spec.model_dump(mode="json"))
            values = {"eval/perplexity": 9.0}
            point = TrialMetrics(key=spec.key, step=4, time=1, values=values)
            journal.write([begun, point, TrialEnded(key=spec.key, result=result)])
        journal.close()
        return launch

    return make


@pytest.fixture
def nmlab(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["nmlab", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        return exit_.value.code or 0, capsys.readouterr()

    return call


def test_a_launch_that_is_over_says_that_nothing_was_left(ended_launch, nmlab):
    launch = ended_launch("finished", "diverged")
    code, printed = nmlab("resume", launch.folder, "--no-report")
    assert code == 0
    line = "finished already: 1 diverged, 1 finished; nothing was left to run, so no model was loaded"
    assert line in printed.out
    assert " 0 times" not in printed.out
    commands = [line.removeprefix("go on with:").strip() for line in printed.out.splitlines()[-2:]]
    assert [shlex.split(command)[1] for command in commands] == ["evaluate", "export"]
    assert all(launch.name in command for command in commands)
    assert json.loads(nmlab("status", launch.folder, "--json")[1].out)["model_loads"] == 2, "of the process before"
    assert "the model was loaded 2 times" in nmlab("status", launch.folder)[1].out.replace("\n", " ")


@pytest.mark.parametrize("options", [(), ("--no-report",), ("--json",), ("--quiet",)])
def test_a_launch_without_a_finished_trial_fails_and_says_that_there_is_no_report(ended_launch, nmlab, options):
    launch = ended_launch("diverged", "diverged")
    code, printed = nmlab("resume", launch.folder, *options)
    assert code == 1
    assert printed.err == (
        f"nmlab: no trial of {launch.name} finished (2 diverged), so no report was written; "
        f"`nmlab status {launch.name}` says why\n"
    )
    assert "go on with" not in printed.out
    assert not launch.report_folder.exists()
    if options == ("--json",):
        assert json.loads(printed.out)["report"] is None


@pytest.mark.parametrize(
    ("counts", "status", "code"),
    [
        ({"finished": 1, "diverged": 1}, "finished", 0),
        ({"diverged": 2}, "finished", 1),
        ({"pruned": 1, "oom": 1}, "finished", 1),
        ({"stopped": 2}, "stopped", 1),
        ({}, "failed", 1),
    ],
)
def test_exit_codes_of_a_sweep(plan_of, tracking_uri, tmp_path, nmlab, monkeypatch, counts, status, code):
    monkeypatch.setattr(Sweep, "run", lambda self: LaunchEnding(status, counts, 1, "verified", 2.0))
    monkeypatch.setattr("nmlab.platform.driver.start_launch.plan_study", lambda study, earlier=(): plan_of(*GRID))
    given, printed = nmlab("sweep", "quickstart", "--no-report", "--tracking-uri", tracking_uri)
    assert given == code
    assert ("no report was written" in printed.err) == (not counts.get("finished"))
    assert "model loaded once, frozen weights verified" in printed.out


def test_what_mlflow_does_not_take_is_named_at_the_end(ended_launch, nmlab):
    """The finished trial's file is gone; everything else is delivered."""
    launch = ended_launch("finished", "finished")
    lines = launch.journal_file.read_text().splitlines(keepends=True)
    journal = Journal(launch)
    records = list(journal.read())
    journal.close()
    launch.journal_file.write_text(lines[0])
    records[-1].result["artifacts"] = ["mask.safetensors"]
    journal = Journal(launch)
    journal.write(records)
    journal.close()
    code, printed = nmlab("resume", launch.folder, "--no-report")
    key = records[-1].key
    assert code == 1
    assert f"MLflow does not take trial {key}: " in printed.out
    assert f"mask.safetensors is gone; the run was closed without it; `nmlab resume {launch.name}`" in printed.out


# --- notifications ----------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver():
    found = Receiver(200)
    yield found
    found.close()


def holding(folder, text):
    """Return the files of a folder that hold a text."""
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


@pytest.mark.parametrize("given", ["option", "variable"])
def test_the_end_is_posted_once_and_its_address_is_kept_nowhere(
    ended_launch, nmlab, receiver, monkeypatch, tmp_path, given
):
    launch = ended_launch("finished", "diverged")
    if given == "variable":
        monkeypatch.setenv("NMLAB_NOTIFY", receiver.url)
    option = ("--notify", receiver.url) if given == "option" else ()
    code, printed = nmlab("resume", launch.folder, "--no-report", *option)
    assert code == 0
    (message,) = receiver.bodies
    assert (message["event"], message["status"], message["launch"]) == ("ended", "finished", launch.name)
    assert (message["trials"]["ended"], message["failed"]) == (2, {"diverged": 1})
    assert SECRET not in printed.out + printed.err
    assert holding(tmp_path, "finished"), "files are looked into"
    assert holding(tmp_path, SECRET) == []


def test_a_server_that_is_down_costs_one_line_and_no_exit_code(ended_launch, nmlab, receiver, monkeypatch):
    launch = ended_launch("finished", "diverged")
    receiver.close()
    monkeypatch.setattr("nmlab.platform.driver.notifications._LAST_SECONDS", 1.0)
    code, printed = nmlab("resume", launch.folder, "--no-report", "--notify", receiver.url)
    assert code == 0
    (line,) = printed.err.splitlines()
    assert line.startswith("nmlab: http://127.0.0.1:")
    assert "did not take a notification" in line
    assert SECRET not in line


def test_a_bad_address_is_refused_before_anything_is_made(nmlab, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for option in (("--notify", f"ftp://host/{SECRET}"), ("--notify", SECRET), ("--notify", "")):
        code, printed = nmlab("sweep", "quickstart", *option)
        assert code == 2
        assert printed.err.startswith("nmlab: --notify (NMLAB_NOTIFY): expected an address of http:// or https://")
        assert SECRET not in printed.err
    assert list(tmp_path.iterdir()) == []

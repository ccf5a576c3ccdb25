"""A resumed launch: where it runs from now on, what it needs where nothing is left, and results that are no folder."""

import os
import shlex

import pytest
from typer.testing import CliRunner

from nmlab.platform import cli
from nmlab.platform.cli.app import app
from nmlab.platform.cluster.submit import extend_command, resume_command
from nmlab.platform.driver.start_launch import resumed_address
from nmlab.platform.launches import launch as launches
from nmlab.platform.launches.journal import Journal, read_journal
from nmlab.platform.launches.ownership import owned
from nmlab.platform.planning.listing import list_trials
from nmlab.platform.records.events import TrialEnded, TrialSubmitted

GRID = ("baselines=[]", "search={algorithm: grid}", "space={alpha: {grid: [0.9]}}", "seeds=[0]")
GRID = (*GRID, "fixed={steps: 4, learning_rate: 2.0, logit_magnitude: 4.0}")
JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


@pytest.fixture
def launch_at(plan_of, tracking_uri, tmp_path):
    """Make a launch on the cluster at an address, whose only trial has ended as ``status`` if any."""

    def make(address, *, status="finished"):
        plan = plan_of(*GRID)
        settings = {"tracking_uri": tracking_uri, "address": address, "max_failures": 3}
        launch = launches.create(plan.study, results=tmp_path / "results", settings=settings)
        journal, (spec,) = Journal(launch), list_trials(plan).specs
        result = {"key": spec.key, "status": status, "step": 4, "metrics": {}, "reason": "", "artifacts": ()}
        journal.write([TrialSubmitted(key=spec.key, spec=spec.model_dump(mode="json"))])
        if status:
            journal.write([TrialEnded(key=spec.key, result=result)])
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


@pytest.mark.parametrize("address", ["127.0.0.1:1", "auto"])
def test_a_launch_that_is_over_needs_no_cluster(launch_at, nmlab, address):
    launch = launch_at(address)
    code, printed = nmlab("resume", launch.folder, "--no-report")
    assert code == 0, printed.err
    assert "finished already: 1 finished" in printed.out
    assert launch.settings()["address"] == address


@pytest.mark.slow
def test_an_address_that_is_given_is_used_from_now_on(launch_at, nmlab):
    launch = launch_at("127.0.0.1:1")
    assert nmlab("resume", launch.folder, "--no-report", "--address", "127.0.0.1:2")[0] == 0
    assert launch.settings()["address"] == "127.0.0.1:2"
    assert nmlab("resume", launch.folder, "--no-report", "--address", "local")[0] == 0
    assert launch.settings()["address"] is None
    assert launch.study().name == "quickstart", "the digest of the study is still there"


def test_a_store_that_is_given_is_used_from_now_on(launch_at, nmlab, tracking_uri, tmp_path):
    launch = launch_at(None)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    (tmp_path / "other.db").write_bytes((tmp_path / "nmlab.db").read_bytes())
    code, printed = nmlab("resume", launch.folder, "--no-report", "--tracking-uri", "sqlite:///other.db")
    assert code == 0, printed.err
    assert launch.settings()["tracking_uri"] == other


def test_an_owned_launch_is_refused_before_its_cluster_is_asked(launch_at, nmlab):
    launch = launch_at("127.0.0.1:1", status="")
    with owned(launch.folder):
        code, printed = nmlab("resume", launch.folder, "--no-report")
    assert code == 2
    (line,) = printed.err.splitlines()
    assert f"launch {launch.name} is owned by process {os.getpid()} of " in line


def test_a_launch_that_is_not_over_joins_the_cluster_that_is_given(launch_at, nmlab):
    launch = launch_at("127.0.0.1:1", status="")
    code, printed = nmlab("resume", launch.folder, "--address", "127.0.0.1:2")
    assert code == 2
    assert printed.err.startswith("nmlab: no Ray cluster answers at '127.0.0.1:2'")
    assert launch.settings()["address"] == "127.0.0.1:1", "an address without an answer is not kept"


def test_auto_joins_no_cluster_that_was_not_named(launch_at, nmlab, monkeypatch):
    monkeypatch.delenv(JOB, raising=False)
    launch = launch_at("auto", status="")
    code, printed = nmlab("resume", launch.folder)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert "(address 'auto'); give --address: HOST:PORT of its head node" in printed.err
    assert f"nmlab submit --resume {launch.name}" in printed.err


def test_which_cluster_a_resumed_launch_joins(monkeypatch):
    monkeypatch.setenv(JOB, "{}")
    assert resumed_address(None, stored="auto", launch="x") == "auto"
    monkeypatch.delenv(JOB)
    assert resumed_address("auto", stored=None, launch="x") == "auto"
    assert resumed_address("local", stored="head:6379", launch="x") is None
    assert resumed_address(None, stored="head:6379", launch="x") == "head:6379"
    with pytest.raises(ValueError, match="give --address"):
        resumed_address(None, stored="auto", launch="x")


def test_a_journal_is_read_without_touching_it(launch_at):
    launch = launch_at(None)
    whole = launch.journal_file.read_bytes()
    launch.journal_file.write_bytes(whole + b'{"event": "metr')
    assert [record.event for record in read_journal(launch)] == ["trial", "ended"]
    assert launch.journal_file.read_bytes() == whole + b'{"event": "metr'


def test_the_command_that_resumes_in_a_job():
    words = shlex.split(resume_command("small-1", results="/shared folder", tracking_uri="http://mlflow:5000"))
    assert words[:5] == ["python", "-m", "nmlab", "resume", "small-1"]
    assert words[5:] == [
        *("--address", "auto", "--results", "/shared folder"),
        *("--tracking-uri", "http://mlflow:5000"),
    ]
    with pytest.raises(ValueError, match="expected an absolute path"):
        resume_command("small-1", results="results")


SUBMIT = ("submit", "--address", "http://127.0.0.1:1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--results", "/shared"), "expected STUDY or --resume LAUNCH, neither given"),
        (("quickstart", "--resume", "x", "--results", "/shared"), "expected STUDY or --resume LAUNCH, both given"),
        (("--resume", "x", "--results", "/shared", "--set", "a=1"), "expected no --preset, --set or --max-failures"),
        (("--resume", "x", "--results", "shared"), "results folder 'shared': expected an absolute path"),
        (("--resume", "x", "--results", "s3://b/x"), "results folder 's3://b/x': expected a path"),
        (("--resume", "x", "--results", "/no-such-folder"), "no Ray cluster answers at 'http://127.0.0.1:1'"),
        (("--extend", "x", "--results", "/shared"), "--extend x: expected --set, or the STUDY as it is to be"),
        (
            ("--extend", "x", "--resume", "y", "--results", "/shared", "--set", "a=1"),
            "expected --resume LAUNCH or --extend LAUNCH, both given (y, x)",
        ),
        (
            ("--extend", "x", "--results", "/shared", "--set", "a=1", "--max-failures", "2"),
            "--extend x: the launch keeps its --max-failures",
        ),
        (("--extend", "x", "--results", "shared", "--set", "a=1"), "results folder 'shared': expected an absolute"),
        (("--extend", "x", "--results", "/no-such-folder", "--set", "a=1"), "no Ray cluster answers at"),
        (
            ("--resume", "x", "--results", "/shared", "--warm-start", "y"),
            "--warm-start: only a new launch starts from others",
        ),
    ],
)
def test_what_submit_refuses(nmlab, arguments, message):
    code, printed = nmlab(*SUBMIT, *arguments)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert message in printed.err


def test_submit_looks_for_the_launch_where_it_sees_the_results(launch_at, nmlab):
    launch = launch_at("auto")
    code, printed = nmlab(*SUBMIT, "--results", launch.folder.parents[1], "--resume", "quickstrat")
    assert code == 2
    assert "no launch 'quickstrat' in" in printed.err


def test_the_command_that_extends_in_a_job():
    changes = ("--set", "seeds=[0, 1, 2]", "--set", "search.samples=12")
    words = shlex.split(extend_command("small-1", results="/shared folder", changes=changes))
    assert words[:5] == ["python", "-m", "nmlab", "extend", "small-1"]
    assert words[5:] == [*changes, "--address", "auto", "--results", "/shared folder"]
    edited = shlex.split(extend_command("small-1", results="/shared", changes=("study.yaml",)))
    assert edited[4:6] == ["small-1", "study.yaml"]


def test_what_an_extension_may_not_change_is_refused_before_a_job_is_sent(launch_at, nmlab):
    launch = launch_at("auto")
    results = ("--results", launch.folder.parents[1])
    code, printed = nmlab(*SUBMIT, *results, "--extend", launch.name, "--set", "pattern=4:8")
    assert (code, printed.err.count("\n")) == (2, 1)
    assert "expected '2:4', as in the launch" in printed.err
    code, printed = nmlab(*SUBMIT, *results, "--extend", launch.name, "--set", "seeds=[0, 1, 2, 3, 4, 5, 6]")
    assert "no Ray cluster answers at" in printed.err, "it goes as far as the cluster"


VERBS = {
    "sweep": ("sweep", "quickstart", "--results"),
    "resume": ("resume", "--results"),
    "status": ("status", "--results"),
    "run": ("run", "magnitude", "--results"),
    "evaluate": ("evaluate", "x", "--results"),
    "report": ("report", "quickstart", "--output"),
    "export": ("export", "x", "--format", "hf", "--output"),
    "compare": ("compare", "x", "--output"),
}


@pytest.mark.parametrize("url", ["s3://bucket/x", "gs://bucket/x", "hdfs://name:8020/x", "abfss://c@a.net/x"])
@pytest.mark.parametrize("verb", VERBS)
def test_a_url_is_no_folder(nmlab, tmp_path, monkeypatch, verb, url):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    code, printed = nmlab(*VERBS[verb], url)
    assert (code, printed.err.count("\n")) == (2, 1)
    scheme = url.partition("://")[0]
    assert f"{url!r}: expected a path; mount what is at {scheme}:// as a folder" in printed.err
    assert set(tmp_path.iterdir()) == before


def test_a_file_url_is_refused_with_its_path(nmlab, monkeypatch):
    monkeypatch.setenv("NMLAB_RESULTS", "file:///data/results")
    code, printed = nmlab("status")
    assert code == 2
    message = "nmlab: results folder 'file:/data/results': expected a path, not a URL; give '/data/results'\n"
    assert printed.err == message


def test_resume_and_submit_tell_of_their_options():
    runner = CliRunner()
    shown = runner.invoke(app, ["resume", "--help"], env={"COLUMNS": "200"}).output
    assert "--address" in shown
    assert "--tracking-uri" in shown
    assert "--resume" in runner.invoke(app, ["submit", "--help"], env={"COLUMNS": "200"}).output

"""A launch is written the same way in every command, and refused in the same words."""

import pytest

from nmlab.platform import cli
from nmlab.platform.launches import launch as launches
from nmlab.platform.tracking.named_launch import launch_in_store
from nmlab.platform.tracking.store import MlflowStore
from nmlab.trials.contract.launch_names import LaunchName, meant_launch

KNOWN = [
    LaunchName("alpha", "alpha-20260101-000000"),
    LaunchName("alpha", "alpha-20260202-000000"),
    LaunchName("seeds", "seeds-20260101-000000"),
]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (None, 2),
        ("alpha", 1),
        ("alpha-20260101-000000", 0),
        ("alpha@alpha-20260101-000000", 0),
        ("alpha/alpha-20260101-000000", 0),
        ("alpha@alpha-202601", 0),
        ("alpha-202601", 0),
        ("seeds-", 2),
    ],
)
def test_a_launch_by_every_way_to_write_it(text, place):
    assert meant_launch(text, KNOWN, where="here") == KNOWN[place]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("alhpa", "no launch 'alhpa' in here; did you mean 'alpha'? studies launched there: alpha, seeds"),
        ("zzz", "no launch 'zzz' in here; studies launched there: alpha, seeds"),
        ("alph", "no launch 'alph' in here; did you mean 'alpha'? studies launched there: alpha, seeds"),
        (
            "alpha-2026",
            "'alpha-2026' may mean several: launch alpha-20260101-000000, launch alpha-20260202-000000; "
            "give more characters",
        ),
        ("seeds@alpha-20260101-000000", "no launch 'seeds@alpha-20260101-000000' in here; did you mean "),
    ],
)
def test_what_is_no_launch_is_refused_in_one_line(text, line):
    with pytest.raises(ValueError) as refused:
        meant_launch(text, KNOWN, where="here")
    assert str(refused.value).startswith(line)


@pytest.fixture
def launched(plan_of, tracking_uri, tmp_path, monkeypatch):
    """Return a launch that is in a results folder and in MLflow."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    launch = launches.create(plan_of().study, results=tmp_path / "results", settings={"tracking_uri": tracking_uri})
    MlflowStore("quickstart", launch=launch.name, uri=tracking_uri).begin({}, {})
    return launch


def written(launch):
    """Return every way to write a launch."""
    return (
        str(launch.folder),
        f"results/quickstart/{launch.name}",
        launch.name,
        launch.name[:-2],
        f"quickstart@{launch.name}",
        "quickstart",
    )


def test_folder_and_store_find_the_same_launch(launched, tracking_uri, tmp_path):
    for text in written(launched):
        assert launches.find(text, results=tmp_path / "results") == launched
        study, name = launch_in_store(text, tracking_uri=tracking_uri)
        assert (study, name) == ("quickstart", None if text == "quickstart" else launched.name)


VERBS = [
    ("status",),
    ("resume",),
    ("clean",),
    ("report",),
    ("compare",),
    ("scale", "--groups", "9"),
    ("ui",),
    ("evaluate", "builtin:tiny", "--study"),
    ("submit", "--address", "http://localhost:1", "--results", "results", "--resume"),
]


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_refuses_an_unknown_launch_in_the_same_words(launched, monkeypatch, capsys, verb):
    monkeypatch.setattr("sys.argv", ["nmlab", *verb, "quickstrat"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    printed = capsys.readouterr()
    assert ended.value.code == 2
    assert printed.err.startswith("nmlab: no launch 'quickstrat' in ")
    assert printed.err.endswith("; did you mean 'quickstart'? studies launched there: quickstart\n")


@pytest.mark.parametrize("verb", [("status",), ("clean",), ("report",), ("compare",), ("scale", "--groups", "9")])
def test_every_verb_finds_a_launch_by_every_way_to_write_it(launched, monkeypatch, capsys, verb):
    """This one has no trials, so most verbs refuse it, but by its name."""
    for text in written(launched):
        monkeypatch.setattr("sys.argv", ["nmlab", *verb, text])
        with pytest.raises(SystemExit):
            cli.main()
        printed = capsys.readouterr()
        assert "no launch" not in printed.err
        assert launched.name in printed.out + printed.err or "has not started" in printed.err


def test_the_study_of_a_launch_says_which_version_made_it(launched):
    lines = launched.study_file.read_text().splitlines()
    assert lines[0].startswith("# nmlab ")
    assert launched.name in lines[0]
    launched.study_file.write_text("\n".join(lines).replace("seeds: ", "sedes: "))
    version = lines[0].split()[2].rstrip(":")
    with pytest.raises(ValueError, match=rf"made by nmlab {version}, is not the one that this launch was started with"):
        launched.study()
    assert "made_by" not in launched.settings()

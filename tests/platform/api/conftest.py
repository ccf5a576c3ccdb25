"""Launches that are written without Ray, and a command line in the folder that holds them."""

import shutil

import pytest

from nmlab.platform import cli
from nmlab.platform.launches.launch import create
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.tracking import MlflowStore
from nmlab.platform.tracking.provenance import provenance


@pytest.fixture(scope="module")
def folder(tmp_path_factory, migrated_database):
    """A folder with an empty store, for the launches of a module."""
    folder = tmp_path_factory.mktemp("launches")
    shutil.copyfile(migrated_database, folder / "nmlab.db")
    return folder


@pytest.fixture(scope="module")
def uri(folder):
    return f"sqlite:///{folder / 'nmlab.db'}"


@pytest.fixture(scope="module")
def written(folder, uri):
    """Return a function that writes a launch and returns its name: (method, alpha or None) -> a value of each seed."""

    def write(plan, tried):
        settings = {"tracking_uri": uri, "address": None, "max_failures": 3}
        launch = create(plan.study, results=folder / "results", settings=settings)
        store = MlflowStore(plan.study.name, launch=launch.name, uri=uri)
        store.begin({"nmlab.planned": str(sum(map(len, tried.values())))}, {"search.metric": "eval/perplexity"})
        for (method, alpha), values in tried.items():
            for seed, value in enumerate(values):
                own = {"alpha": alpha, "steps": 4} if alpha else {}
                spec = trial_spec(plan.study, {"method": method, "pattern": "2:4", **own}, seed=seed)
                store.begin_trial(spec, role="search" if alpha else "baseline", tags=provenance())
                store.log_points(spec.key, [{"step": 4, "time": 1004, "values": {"eval/perplexity": value}}])
                result = {"key": spec.key, "status": "finished", "step": 4, "metrics": {}, "reason": ""}
                store.end_trial(result, folder=launch.trial_folder(spec.key))
        store.end("finished", time=9000)
        return launch.name

    return write


@pytest.fixture
def here(folder, monkeypatch):
    """The folder of the launches, in which a test runs."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("NMLAB_RESULTS", raising=False)
    return folder


@pytest.fixture
def command(here, monkeypatch, capsys):
    """Return a function that runs a command there and returns its exit code and what it printed."""

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["nmlab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed

    return call

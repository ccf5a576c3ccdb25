"""Results in Python: typed frames, the best configuration, any id, from a launch that was written without Ray."""

import math
import shutil

import pandas as pd
import pytest

import nmlab
from nmlab.platform.api.frames import kind_of, typed_column
from nmlab.platform.launches.launch import create
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.tracking import MlflowStore
from nmlab.platform.tracking.provenance import provenance
from nmlab.reports.analysis.configurations import configurations_of
from nmlab.reports.read.collect import collect
from nmlab.reports.read.store import open_store

TRIED = {  # perplexity by seed; None failed
    ("dense", None): (5.0,),
    ("maskpro", 0.9): (20.0, 22.0),
    ("maskpro", 0.25): (19.0, None),
    ("maskpro", 0.5): (30.0, 34.0),
    ("magnitude", None): (31.0,),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, migrated_database):
    """A folder with a store."""
    folder = tmp_path_factory.mktemp("results")
    shutil.copyfile(migrated_database, folder / "nmlab.db")
    return folder


@pytest.fixture
def tracking_uri(folder, monkeypatch):
    """The store, in the folder in which each test runs."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return f"sqlite:///{folder / 'nmlab.db'}"


@pytest.fixture(scope="module")
def written(plan_of, folder):
    """A launch, and the specification of each trial by method, alpha and seed."""
    plan, uri = plan_of(), f"sqlite:///{folder / 'nmlab.db'}"
    settings = {"tracking_uri": uri, "address": None, "max_failures": 3}
    launch = create(plan.study, results=folder / "results", settings=settings)
    store = MlflowStore(plan.study.name, launch=launch.name, uri=uri)
    store.begin({"nmlab.planned": "8"}, {"search.metric": "eval/perplexity", "search.mode": "min"})
    specs = {}
    for (method, alpha), values in TRIED.items():
        for seed, value in enumerate(values):
            own = {"alpha": alpha, "steps": 4} if alpha else {}
            spec = trial_spec(plan.study, {"method": method, "pattern": "2:4", **own}, seed=seed)
            role = "search" if method == "maskpro" else "baseline"
            store.begin_trial(spec, role=role, tags=provenance())
            points = [(0, "initial/perplexity", 40.0), (2, "train/loss", 3.5), (4, "train/loss", math.nan)]
            points = points if alpha else []
            for step, name, number in [*points, *([(4, "eval/perplexity", value)] if value else [])]:
                store.log_points(spec.key, [{"step": step, "time": 1, "values": {name: number}}])
            ended = {"status": "finished", "reason": ""} if value else {"status": "failed", "reason": "out of luck"}
            store.end_trial({"key": spec.key, "artifacts": (), **ended}, folder=launch.trial_folder(spec.key))
            specs[method, alpha, seed] = spec
    return launch, specs


@pytest.fixture
def launched(written, tracking_uri):
    return written


@pytest.fixture
def result(launched):
    return nmlab.load_result(launched[0].name)


def test_a_frame_of_trials_has_typed_columns(result, launched):
    frame, specs = result.trials, launched[1]
    assert len(frame) == len(specs)
    assert set(frame["trial"]) == {spec.key for spec in specs.values()}
    types = {"alpha": "float64", "steps": "Int64", "seed": "Int64", "eval/perplexity": "float64", "external": "bool"}
    types |= {"trial": "string", "configuration": "string", "method": "string", "initial_mask": "string"}
    assert {name: str(frame[name].dtype) for name in types} == types
    assert isinstance(frame["status"].dtype, pd.CategoricalDtype)
    assert {"finished", "failed", "diverged"} <= set(frame["status"].cat.categories)
    row = frame.set_index("trial").loc[specs["maskpro", 0.25, 0].key]
    assert (row["alpha"], row["steps"], row["seed"], row["eval/perplexity"]) == (0.25, 4, 0, 19.0)
    assert frame[frame["method"] == "magnitude"]["alpha"].isna().all()
    assert list(frame[frame["status"] == "failed"]["reason"]) == ["out of luck"]
    assert frame.groupby("alpha")["eval/perplexity"].mean().to_dict() == {0.25: 19.0, 0.5: 32.0, 0.9: 21.0}


def test_a_frame_of_configurations_has_the_numbers_of_the_report(result, tracking_uri):
    frame = result.configurations
    items = configurations_of(collect(open_store(tracking_uri), study="quickstart"))
    assert list(frame["configuration"]) == [item.key for item in items]
    for row, item in zip(frame.itertuples(), items, strict=True):
        assert (row.mean, row.n, row.planned) == (item.value.mean, len(item.finished), item.runs_in_all)
        assert (row.low == item.value.low) if item.value.low is not None else math.isnan(row.low)
    types = {"mean": "float64", "low": "float64", "high": "float64", "n": "Int64", "rank": "Int64", "alpha": "float64"}
    assert {name: str(frame[name].dtype) for name in types} == types
    own = frame[frame["role"] == "search"].set_index("alpha")
    assert own.loc[0.9, ["mean", "n", "planned"]].tolist() == [21.0, 2, 2]
    assert own.loc[0.9, "low"] < 20.0 < 22.0 < own.loc[0.9, "high"]
    assert own.loc[0.25, ["n", "planned"]].tolist() == [1, 2]
    assert own["rank"].dropna().to_dict() == {0.9: 1, 0.5: 2}, "a configuration with a failed seed has no rank"
    assert set(frame["metric"]) == {"eval/perplexity"} == {result.metric}


def test_the_best_configuration_is_a_complete_one_that_was_searched(result, launched):
    best = result.best()
    assert (best.method, best.settings["alpha"], best.mean, best.n, best.seeds) == ("maskpro", 0.9, 21.0, 2, (0, 1))
    assert best.trial.key == launched[1]["maskpro", 0.9, 0].key
    assert result.best(method="magnitude").mean == 31.0
    assert result.best(pattern="2:4").key == best.key
    with pytest.raises(ValueError, match=r"unknown method in launch .* 'maskpto'; did you mean 'maskpro'?"):
        result.best(method="maskpto")
    with pytest.raises(ValueError, match="has no finished configuration with a mask"):
        result.best(method="dense")


def test_every_id_leads_to_its_value(result, launched, tmp_path):
    launch, specs = launched
    spec = specs["maskpro", 0.9, 1]
    for name in (launch.name, "quickstart", launch.name[:-2]):
        assert nmlab.load_result(name).launch == launch.name
    trial = nmlab.load_result(spec.key)
    assert (trial.key, trial.seed, trial.study, trial.launch) == (spec.key, 1, "quickstart", launch.name)
    assert trial.metrics["eval/perplexity"] == 22.0
    assert trial.settings["alpha"] == 0.9
    assert nmlab.load_result(trial.run_id).key == spec.key
    assert nmlab.load_result(spec.key[:9]).key == spec.key
    found = nmlab.load_result(spec.configuration)
    assert (found.key, found.mean) == (spec.configuration, 21.0)
    assert result.configuration(spec.configuration[:6]).key == spec.configuration
    assert result.trial(spec.key).metrics == trial.metrics
    assert nmlab.load_result(launch.name, results=tmp_path / "elsewhere").folder is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("abcdef0123", "no run 'abcdef0123' in sqlite"),
        ("nothing", "no run 'nothing' in sqlite"),
        ("quick", "no run 'quick' in sqlite"),
    ],
)
def test_a_name_that_means_nothing_is_a_line(launched, name, message):
    with pytest.raises(ValueError, match=message):
        nmlab.load_result(name)


def test_a_launch_whose_store_is_elsewhere_is_found_by_its_folder(launched, tmp_path):
    """The folder says which store it was recorded in."""
    found = nmlab.load_result(launched[0].name, tracking_uri=f"sqlite:///{tmp_path}/other.db")
    assert found.best().mean == 21.0


def test_a_history_has_a_row_for_each_step(launched):
    history = nmlab.load_result(launched[1]["maskpro", 0.9, 0].key).history()
    assert history.index.name == "step"
    assert list(history.index) == [0, 2, 4]
    assert history.loc[0, "initial/perplexity"] == 40.0
    assert history.loc[2, "train/loss"] == 3.5
    assert math.isnan(history.loc[4, "train/loss"])
    assert (history.dtypes == "float64").all()


def test_what_has_no_mask_says_so(launched):
    _, specs = launched
    for key, message in (
        (specs["dense", None, 0].key, "is the dense model, which has no mask"),
        (specs["maskpro", 0.25, 1].key, "is failed and has no mask"),
        (specs["magnitude", None, 0].key, "holds no trial.json"),
    ):
        with pytest.raises(ValueError, match=message):
            nmlab.load_result(key).mask  # noqa: B018


def test_values_render_in_a_notebook_and_hide_what_could_break_it(result, launched):
    trial = nmlab.load_result(launched[1]["maskpro", 0.9, 0].key)
    for value in (result, result.best(), trial):
        page = value._repr_html_()
        assert page.startswith("<p><b>")
        assert "0.9" in page
    assert launched[0].name in repr(result)
    assert "sqlite" not in repr(result), "an address may hold a password"


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (float, float),
        (int | None, int),
        (float | int, float),
        (bool, bool),
        (str | None, str),
        (float | str, None),
        (int | bool, None),
    ],
)
def test_the_type_of_a_setting_is_that_of_its_annotation(annotation, kind):
    assert kind_of(annotation) is kind


def test_a_column_keeps_what_it_was_given():
    assert typed_column(pd.Series(["True", None, "False"], dtype=object), kind=bool).tolist() == [True, pd.NA, False]
    assert typed_column(pd.Series([1, None], dtype=object), kind=int).tolist() == [1, pd.NA]
    assert typed_column(pd.Series([1, None, "inf"], dtype=object), kind=float).tolist()[::2] == [1.0, math.inf]

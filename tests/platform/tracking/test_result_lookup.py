"""Every id that is printed is accepted wherever a result is asked for; what may mean several things lists them."""

import json
import shlex
import shutil

import pytest
from mlflow.tracking import MlflowClient

from nmlab.platform import cli
from nmlab.platform.cli.next_steps import evaluate_command, launch_argument
from nmlab.platform.launches.launch import create
from nmlab.platform.tracking import MlflowStore
from nmlab.platform.tracking.provenance import provenance
from nmlab.platform.tracking.result_files import located_files
from nmlab.platform.tracking.result_lookup import find_result
from nmlab.trials.contract.run_artifacts import MASK_FILE

VALUES = {"magnitude": (30.0, 31.0), "random": (20.0, 24.0), "wanda": (21.0, float("nan")), "dense": (5.0, 5.0)}


def _write(folder, spec, value):
    """Leave what a finished trial leaves, as far as looking for results goes."""
    folder.mkdir(parents=True)
    (folder / MASK_FILE).write_bytes(b"mask of " + spec.key.encode())
    record = {"key": spec.key, "spec": spec.model_dump(mode="json"), "metrics": {"eval/perplexity": value}}
    (folder / "trial.json").write_text(json.dumps(record))


@pytest.fixture(scope="module")
def kept(plan_of, migrated_database, tmp_path_factory):
    """The folder of a launch that tests leave as it is, with its store; and what ``_launch`` returns."""
    folder = tmp_path_factory.mktemp("kept")
    shutil.copyfile(migrated_database, folder / "nmlab.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where MLflow puts artifacts
        return folder, _launch(plan_of(), folder)


@pytest.fixture
def launched(plan_of, tracking_uri, tmp_path):
    """A launch that the test may change, in its own folder."""
    return _launch(plan_of(), tmp_path)


def _launch(plan, folder):
    """Return a launch, its store, and the specs of its trials: two seeds of each method; the second of wanda failed."""
    from nmlab.platform.planning.study_trials import trial_spec

    launch = create(plan.study, results=folder / "results", settings={})
    store = MlflowStore(plan.study.name, launch=launch.name, uri=f"sqlite:///{folder / 'nmlab.db'}")
    store.begin({"nmlab.planned": "8"}, {"search.metric": "eval/perplexity", "search.mode": "min"})
    specs = {}
    for method, values in VALUES.items():
        for seed, value in enumerate(values):
            spec = trial_spec(plan.study, {"method": method, "pattern": "2:4"}, seed=seed)
            failed = value != value
            place = launch.trial_folder(spec.key)
            store.begin_trial(spec, role="baseline" if method == "dense" else "search", tags=provenance())
            if not failed:
                _write(place, spec, value)
                store.log_points(spec.key, [{"step": 0, "time": 1, "values": {"eval/perplexity": value}}])
            result = {"key": spec.key, "status": "failed" if failed else "finished", "reason": "x" if failed else ""}
            store.end_trial({**result, "artifacts": () if failed else ("trial.json", MASK_FILE)}, folder=place)
            specs[method, seed] = spec
    return launch, store, specs


def _taken(name, *, uri, results):
    with located_files(str(name), tracking_uri=uri, results=results) as found:
        from pathlib import Path

        assert (Path(found.place) / MASK_FILE).read_bytes() == b"mask of " + found.key.encode()
        return found


@pytest.mark.parametrize("source", [pytest.param("both", marks=pytest.mark.slow), "MLflow", "folder"])
def test_ids_of_every_kind_and_their_beginnings(kept, monkeypatch, request, tmp_path, source):
    folder, (launch, store, specs) = kept
    monkeypatch.chdir(folder)
    results, uri = folder / "results", store.uri
    if source == "MLflow":
        results.rename(folder / "elsewhere")
        request.addfinalizer(lambda: (folder / "elsewhere").rename(results))
    elif source == "folder":
        uri = f"sqlite:///{tmp_path}/none.db"
    spec, best = specs["magnitude", 1], specs["random", 0]
    for name in (spec.key, spec.key[:12], spec.key[:6]):
        assert _taken(name, uri=uri, results=results).key == spec.key
    if source != "folder":
        run = store.run_of(spec.key)
        for name in (run, run[:10], run[:6]):
            assert _taken(name, uri=uri, results=results).run_id == run
        parent = MlflowClient(tracking_uri=uri).get_run(run).data.tags["mlflow.parentRunId"]
        assert _taken(parent, uri=uri, results=results).key == best.key
    for name in (spec.configuration, spec.configuration[:6]):
        found = _taken(name, uri=uri, results=results)
        first = specs["magnitude", 0].key
        assert found.key == first
        message = f"configuration {spec.configuration}: seed 0 of the finished seeds 0, 1, trial {first}"
        assert found.how_chosen == message
    for name in (launch.name, launch.name[:-2], f"quickstart@{launch.name}", launch.folder):
        if source == "MLflow" and name == launch.folder:
            continue
        found = _taken(name, uri=uri, results=results)
        assert found.key == best.key
        assert found.how_chosen == (
            f"launch {launch.name}: its best configuration, eval/perplexity 22; configuration {best.configuration}: "
            f"seed 0 of the finished seeds 0, 1, trial {best.key}"
        )


def test_a_configuration_gives_its_first_finished_seed(kept):
    folder, (_, store, specs) = kept
    wanda = specs["wanda", 0]
    found = _taken(wanda.configuration, uri=store.uri, results=folder / "results")
    assert found.how_chosen.endswith(f"seed 0 of the finished seeds 0, trial {wanda.key}")


def test_an_unfinished_trial_is_named_as_such(kept):
    folder, (_, store, specs) = kept
    with (
        pytest.raises(ValueError, match=r"is failed and holds no trial\.json; only a finished trial has a result"),
        located_files(specs["wanda", 1].key, tracking_uri=store.uri, results=folder / "results"),
    ):
        pass


def test_a_beginning_that_may_mean_several_lists_them_with_their_kinds(launched, tracking_uri, tmp_path):
    launch, store, specs = launched
    client = MlflowClient(tracking_uri=tracking_uri)
    one, other = specs["magnitude", 0], specs["random", 0]
    client.set_tag(store.run_of(other.key), "nmlab.configuration", f"{one.key[:6]}ff")
    with pytest.raises(ValueError, match="may mean several") as refused:
        find_result(one.key[:6], tracking_uri=tracking_uri, results=tmp_path / "none")
    assert f"trial {one.key}" in str(refused.value)
    assert f"configuration {one.key[:6]}ff" in str(refused.value)
    second = create(launch.study(), results=tmp_path / "results", settings={})
    with pytest.raises(ValueError, match="may mean several") as refused:
        find_result(f"{launch.study().name}-20", tracking_uri=tracking_uri, results=tmp_path / "results")
    assert f"launch {launch.name}, launch {second.name}" in str(refused.value)
    assert find_result(launch.name, tracking_uri=tracking_uri, results=tmp_path / "results") is not None


def test_the_newest_of_several_runs_of_one_trial_is_taken(launched, tracking_uri, tmp_path):
    launch, _, specs = launched
    spec = specs["magnitude", 0]
    again = MlflowStore(launch.study().name, launch="later", uri=tracking_uri)
    again.begin({}, {})
    again.begin_trial(spec, role="search", tags={})
    result = {"key": spec.key, "status": "finished", "reason": "", "artifacts": ("trial.json", MASK_FILE)}
    again.end_trial(result, folder=launch.trial_folder(spec.key))
    assert _taken(spec.key, uri=tracking_uri, results=tmp_path).run_id == again.run_of(spec.key)


@pytest.mark.slow
def test_a_mask_that_trials_started_from_is_a_result_too(tracking_uri, tmp_path, monkeypatch, capsys):
    """Reports name its run and its digest."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    short = ("--samples", "4", "--sequence-length", "32", "--batch-size", "2", "--windows", "2", "--set", "steps=1")

    def nmlab(*arguments):
        monkeypatch.setattr("sys.argv", ["nmlab", *arguments])
        with pytest.raises(SystemExit):
            cli.main()
        return capsys.readouterr().out

    nmlab("run", "maskpro", *short, "--quiet")
    client = MlflowClient(tracking_uri=tracking_uri)
    experiment = client.get_experiment_by_name("runs").experiment_id
    (run,) = client.search_runs([experiment], "tags.`nmlab.kind` = 'initial_mask'")
    for name in (run.info.run_id, run.data.tags["nmlab.initial_mask_digest"][:8]):
        assert "2:4 in all 14 prunable layers" in nmlab("evaluate", name, "--windows", "2")


@pytest.mark.parametrize("name", ["builtin:tiny", "org/model", "gpt2", "distilgpt2", "./folder"])
def test_other_names_are_models(kept, tmp_path, name):
    folder, (_, store, _) = kept
    assert find_result(name, tracking_uri=store.uri, results=folder / "results") is None
    assert find_result(name, tracking_uri="sqlite:///none.db", results=tmp_path / "none") is None


def test_digits_that_are_nothing_here_name_both_places(tracking_uri, tmp_path):
    with pytest.raises(ValueError, match=r"no run 'abcdef0123' in sqlite:.* or in .*; expected a run id"):
        find_result("abcdef0123", tracking_uri=tracking_uri, results=tmp_path)
    with pytest.raises(ValueError, match=r"there is no MLflow store at .*none\.db"):
        find_result("abcdef0123", tracking_uri="sqlite:///none.db", results=tmp_path)


def test_commands_say_where_only_if_that_is_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "NMLAB_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    usual = {"tracking_uri": "sqlite:///nmlab.db", "results": tmp_path / "results"}
    assert evaluate_command("abcdef01", **usual) == "nmlab evaluate abcdef01"
    usual["tracking_uri"] = f"sqlite:///{tmp_path}/nmlab.db"
    assert evaluate_command("abcdef01", **usual) == "nmlab evaluate abcdef01"
    other = evaluate_command("a b", tracking_uri="sqlite:///o ther.db", results=tmp_path / "else")
    assert shlex.split(other)[3:] == ["--tracking-uri", "sqlite:///o ther.db", "--results", str(tmp_path / "else")]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///x.db")
    assert evaluate_command("abcdef01", **usual).endswith(f"--tracking-uri sqlite:///{tmp_path}/nmlab.db")
    assert launch_argument(tmp_path / "results" / "study" / "study-1") == "study-1"
    assert launch_argument(tmp_path / "else" / "study" / "study-1") == f"{tmp_path}/else/study/study-1"


@pytest.mark.slow
def test_what_run_prints_can_be_copied_and_so_can_what_that_prints(tracking_uri, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    monkeypatch.delenv("NMLAB_RESULTS", raising=False)

    def nmlab(*arguments):
        monkeypatch.setattr("sys.argv", ["nmlab", *arguments])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        printed = capsys.readouterr()
        assert (exit_.value.code or 0) == 0, printed.err
        return [
            line.split("nmlab ", 1)[1] for line in printed.out.splitlines() if "  nmlab " in line or ": nmlab " in line
        ]

    short = ("--samples", "4", "--sequence-length", "32", "--batch-size", "2", "--windows", "4")
    other = ("--tracking-uri", f"sqlite:///{tmp_path}/other.db", "--results", "other results")
    shutil.copyfile(tmp_path / "nmlab.db", tmp_path / "other.db")
    evaluate, export = nmlab("run", "magnitude", *short, *other)
    assert shlex.split(evaluate)[-4:] == list(other)
    (exported,) = nmlab(*shlex.split(evaluate))
    assert exported == export
    (again,) = nmlab(*shlex.split(export))
    assert nmlab(*shlex.split(again)) == []
    key = shlex.split(evaluate)[1]
    assert nmlab("diff", key, key[:8], *other) == [evaluate]
    assert (tmp_path / "other results" / "runs" / key / "trial.json").is_file()

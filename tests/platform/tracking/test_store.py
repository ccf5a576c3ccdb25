"""MLflow as the platform writes it, in a real sqlite store: the layout that reports read, and calls that may repeat."""

import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from stores import LAUNCH, children, experiment_id, history, result_of

from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.tracking.address import absolute_uri, check_store
from nmlab.platform.tracking.store import MlflowStore
from nmlab.trials.contract.run_params import newest_params

POINTS = [
    {"step": 0, "time": 1000, "values": {"eval/perplexity": 90.0}},
    {"step": 2, "time": 2000, "values": {"train/loss": 4.5}},
    {"step": 4, "time": 3000, "values": {"train/loss": 4.25, "eval/perplexity": 80.0}},
]
NOWHERE = Path("nowhere")


@pytest.fixture
def spec(plan_of):
    study = plan_of().study
    point = {"method": "maskpro", "pattern": "2:4", "steps": 4, "alpha": 0.9, "initial_mask": "wanda"}
    return trial_spec(study, point, seed=1)


def rows(points):
    return sorted((name, p["step"], value, p["time"]) for p in points for name, value in p["values"].items())


def test_the_parent_run_stands_for_the_launch(store, client):
    run = client.get_run(store.parent)
    assert run.info.run_name == LAUNCH
    assert run.info.status == "RUNNING"
    wanted = {"nmlab.kind": "study", "nmlab.launch": LAUNCH, "nmlab.status": "running", "nmlab.planned": "3"}
    assert wanted.items() <= run.data.tags.items()
    assert run.data.params == {"method": "maskpro"}


def test_a_child_run_stands_for_one_configuration_and_seed(store, client, spec):
    store.begin_trial(spec, role="baseline", tags={"nmlab.git_commit": "c0ffee", "nmlab.data_digest": "dd"})
    (run,) = children(client, store)
    assert {
        "mlflow.parentRunId": store.parent,
        "nmlab.kind": "trial",
        "nmlab.trial_key": spec.key,
        "nmlab.configuration": spec.configuration,
        "nmlab.role": "baseline",
        "nmlab.status": "running",
        "nmlab.git_commit": "c0ffee",
        "nmlab.data_digest": "dd",
    }.items() <= run.data.tags.items()
    assert (len(spec.key), len(spec.configuration)) == (16, 8)
    assert run.info.status == "RUNNING"


def test_the_parameters_of_a_child_are_its_flat_configuration(store, client, spec):
    store.begin_trial(spec, role="search", tags={})
    (run,) = children(client, store)
    assert {
        "method": "maskpro",
        "pattern": "2:4",
        "seed": "1",
        "alpha": "0.9",
        "steps": "4",
        "initial_mask": "wanda",
        "model.source": "builtin:tiny",
        "data.calibration.source": "builtin:python-docs",
        "data.calibration.samples": "4",
        "data.evaluation.source": "builtin:python-docs",
    }.items() <= run.data.params.items()


def test_points_keep_their_step_value_and_time(store, client, spec, tracking_uri):
    store.begin_trial(spec, role="search", tags={})
    store.log_points(spec.key, POINTS)
    assert history(tracking_uri) == rows(POINTS)
    assert children(client, store)[0].data.metrics == {"train/loss": 4.25, "eval/perplexity": 80.0}


def test_more_points_than_one_call_takes_are_all_logged(store, spec, tracking_uri):
    store.begin_trial(spec, role="search", tags={})
    many = [{"step": step, "time": step, "values": {"train/loss": float(step)}} for step in range(2500)]
    store.log_points(spec.key, many)
    assert history(tracking_uri) == rows(many)


def test_points_that_come_again_with_other_times_and_values_change_nothing(store, spec, tracking_uri):
    store.begin_trial(spec, role="search", tags={})
    store.log_points(spec.key, POINTS[:2])
    again = [{**p, "time": p["time"] + 50, "values": dict.fromkeys(p["values"], 1.0)} for p in POINTS[:2]]
    store.log_points(spec.key, [*again, POINTS[2], again[0]])
    assert history(tracking_uri) == rows(POINTS)


@pytest.mark.parametrize("cut", range(len(POINTS) + 1))
def test_a_second_process_continues_the_runs_of_the_first(store, reopen, client, spec, tracking_uri, cut):
    """As after kill -9 at any point: the trial repeats what it said, at another time of day."""
    store.begin_trial(spec, role="search", tags={})
    store.log_points(spec.key, POINTS[:cut])
    second = reopen()
    second.begin({"nmlab.planned": "3"}, {"method": "maskpro"})
    second.begin_trial(spec, role="search", tags={})
    later = [{**point, "time": point["time"] + 50} for point in POINTS]
    second.log_points(spec.key, later)
    second.end_trial(result_of(spec), folder=NOWHERE)
    assert second.parent == store.parent
    assert [run.data.tags["nmlab.trial_key"] for run in children(client, second)] == [spec.key]
    assert history(tracking_uri) == rows([*POINTS[:cut], *later[cut:]])


def test_parameters_that_a_crash_cut_off_are_written_by_the_next_process(store, reopen, client, spec):
    """The first process died right after it had made the runs."""
    experiment = experiment_id(client)
    tags = {
        "mlflow.parentRunId": store.parent,
        "nmlab.kind": "trial",
        "nmlab.launch": LAUNCH,
        "nmlab.trial_key": spec.key,
        "nmlab.status": "running",
    }
    client.create_run(experiment, tags=tags)
    second = reopen()
    second.begin({}, {"method": "maskpro", "pattern": "2:4"})
    second.begin_trial(spec, role="search", tags={})
    (run,) = children(client, second)
    assert run.data.params["alpha"] == "0.9"
    assert client.get_run(second.parent).data.params == {"method": "maskpro", "pattern": "2:4"}


def test_a_trial_without_a_launch_has_one_run_however_often_it_is_run(client, spec, tracking_uri):
    for _ in range(2):
        store = MlflowStore("runs", launch=spec.key, uri=tracking_uri)
        store.begin_trial(spec, role="search", tags={})
        store.log_points(spec.key, POINTS)
        store.end_trial(result_of(spec), folder=NOWHERE)
    (run,) = client.search_runs([experiment_id(client, "runs")])
    assert "mlflow.parentRunId" not in run.data.tags
    assert history(tracking_uri) == rows(POINTS)


@pytest.mark.parametrize(
    ("status", "mlflow_status"),
    [("finished", "FINISHED"), ("diverged", "FAILED"), ("oom", "FAILED"), ("failed", "FAILED"), ("stopped", "KILLED")],
)
def test_how_a_trial_ended_is_a_tag_and_a_status(store, client, spec, status, mlflow_status):
    store.begin_trial(spec, role="search", tags={})
    reason = "" if status == "finished" else "because"
    store.end_trial(result_of(spec, status, reason=reason), folder=NOWHERE)
    (run,) = children(client, store)
    assert run.info.status == mlflow_status
    assert run.info.end_time is not None
    assert run.data.tags["nmlab.status"] == status
    assert run.data.tags.get("nmlab.status_reason", "") == reason


@pytest.mark.parametrize("status", ["finished", "diverged", "oom", "stopped"])
def test_a_run_that_has_ended_for_good_is_left_alone_when_it_is_recorded_again(store, reopen, client, spec, status):
    """Its end time says when it ended, not when the launch was resumed."""
    store.begin_trial(spec, role="search", tags={})
    store.end_trial(result_of(spec, status), folder=NOWHERE)
    (before,) = children(client, store)
    second = reopen()
    second.begin({}, {"method": "maskpro"})
    second.begin_trial(spec, role="search", tags={})
    assert children(client, second)[0].info.status == before.info.status
    second.end_trial(result_of(spec, status), folder=NOWHERE)
    assert children(client, second)[0].info.end_time == before.info.end_time


def test_an_interrupted_trial_runs_again_and_loses_its_reason_when_it_finishes(store, client, spec):
    store.begin_trial(spec, role="search", tags={})
    interrupted = result_of(spec, "stopped", reason="interrupted", resumable=True)
    store.end_trial(interrupted, folder=NOWHERE)
    store.begin_trial(spec, role="search", tags={})
    (run,) = children(client, store)
    assert (run.info.status, run.data.tags["nmlab.status"]) == ("RUNNING", "running")
    store.end_trial(result_of(spec), folder=NOWHERE)
    (run,) = children(client, store)
    assert run.data.tags["nmlab.status"] == "finished"
    assert "nmlab.status_reason" not in run.data.tags


def test_a_trials_files_become_its_artifacts(store, client, spec, tmp_path):
    folder = tmp_path / "trial"
    folder.mkdir()
    for name in ("trial.json", "evaluation.npz", "not-asked-for.txt"):
        (folder / name).write_text(name)
    store.begin_trial(spec, role="search", tags={})
    artifacts = ("trial.json", "evaluation.npz")
    store.end_trial(result_of(spec, artifacts=artifacts, model_digest="m0de1"), folder=folder)
    (run,) = children(client, store)
    assert {item.path for item in client.list_artifacts(run.info.run_id)} == set(artifacts)
    assert run.data.tags["nmlab.model_digest"] == "m0de1"
    downloaded = client.download_artifacts(run.info.run_id, "trial.json", str(tmp_path))
    assert Path(downloaded).read_text() == "trial.json"


def test_files_and_folders_are_attached_to_the_parent(store, client, tmp_path):
    (tmp_path / "study.yaml").write_text("name: x")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "report.md").write_text("# x")
    store.attach(tmp_path / "study.yaml")
    store.attach(tmp_path / "report", folder="report")
    assert {item.path for item in client.list_artifacts(store.parent)} == {"study.yaml", "report"}
    assert [item.path for item in client.list_artifacts(store.parent, "report")] == ["report/report.md"]


@pytest.mark.parametrize(("status", "mlflow_status"), [("finished", "FINISHED"), ("stopped", "KILLED")])
def test_the_parent_ends_with_the_launch_and_runs_again_when_resumed(store, reopen, client, status, mlflow_status):
    store.tag_parent({"nmlab.frozen_weights": "verified"})
    store.end(status, time=1_700_000_000_000)
    run = client.get_run(store.parent)
    assert (run.info.status, run.data.tags["nmlab.status"]) == (mlflow_status, status)
    assert run.info.end_time == 1_700_000_000_000
    assert run.data.tags["nmlab.frozen_weights"] == "verified"
    reopen().begin({}, {"method": "maskpro"})
    run = client.get_run(store.parent)
    assert (run.info.status, run.data.tags["nmlab.status"]) == ("RUNNING", "running")


def test_a_deleted_experiment_is_restored_rather_than_refused(store, reopen, client):
    client.delete_experiment(experiment_id(client))
    assert reopen().parent == store.parent


def test_a_relative_database_means_the_same_file_from_everywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute_uri("sqlite:///runs.db") == f"sqlite:///{tmp_path / 'runs.db'}"
    assert absolute_uri("http://host:5000") == "http://host:5000"


def test_a_usable_database_is_accepted_and_none_is_made(tmp_path, tracking_uri):
    check_store(tracking_uri)
    check_store(f"sqlite:///{tmp_path / 'new.db'}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nmlab.db"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite:///{tmp}/file/nmlab.db", "cannot be written: Not a directory"),
        ("sqlite:///{tmp}/no/such/folder/nmlab.db", "cannot be written: No such file or directory"),
        ("sqlite:///{tmp}", "cannot be written: Is a directory"),
        ("sqlite:///{tmp}/file", "is not an sqlite database"),
        ("ftp://somewhere", "expected sqlite:///FILE"),
        ("nmlab.db", "expected sqlite:///FILE"),
        ("http://127.0.0.1:{closed}", "does not answer"),
        ("http://127.0.0.1:port", "names no server; expected http://HOST:PORT"),
        ("http://", "names no server; expected http://HOST:PORT"),
    ],
)
def test_an_unusable_store_is_refused_in_one_line(uri, message, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError) as raised:
        check_store(uri.format(tmp=tmp_path, closed=closed_port()))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert (tmp_path / "file").read_text() == "in the way"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_something_else_on_the_port_is_no_server():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_say_something_else, args=(listener,))
        thread.start()
        with pytest.raises(ValueError, match="does not answer"):
            check_store(f"http://127.0.0.1:{listener.getsockname()[1]}")
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _say_something_else(listener):
    """Answer every call until the listener is shut down."""
    with suppress(OSError):
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"220 mail server ready\r\n")


def closed_port():
    """A port on which nothing listens, because it was just closed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


ACCOUNT = {"cost/seconds": 2.5, "cost/tokens": 64.0, "memory/peak_bytes": 7.0, "time/step_s": 0.5}


@pytest.mark.parametrize("status", ["diverged", "oom", "failed", "stopped"])
def test_a_trial_that_did_not_finish_is_recorded_with_its_cost(store, client, spec, tracking_uri, status):
    store.begin_trial(spec, role="search", tags={})
    store.log_points(spec.key, POINTS[:2])
    metrics = {"train/loss": 4.0, **ACCOUNT}
    store.end_trial(result_of(spec, status, reason="why", metrics=metrics), folder=NOWHERE)
    (run,) = children(client, store)
    assert ACCOUNT.items() <= run.data.metrics.items()
    assert run.data.metrics["train/loss"] == 4.5, "curves are what the points say"
    assert {step for name, step, *_ in history(tracking_uri) if name in ACCOUNT} == {4}


def test_an_end_whose_last_point_had_its_cost_is_not_logged_again(store, spec, tracking_uri):
    store.begin_trial(spec, role="search", tags={})
    points = [{"step": 4, "time": 3000, "values": ACCOUNT}]
    store.log_points(spec.key, points)
    store.end_trial(result_of(spec, metrics=ACCOUNT), folder=NOWHERE)
    assert history(tracking_uri) == rows(points)


def test_a_cost_that_was_unknown_is_known_once_the_trial_went_on(store, client, spec):
    store.begin_trial(spec, role="search", tags={})
    store.end_trial(result_of(spec, "failed", reason="lost", facts={"cost": "unknown"}), folder=NOWHERE)
    assert children(client, store)[0].data.tags["nmlab.cost"] == "unknown"
    store.begin_trial(spec, role="search", tags={})
    store.end_trial(result_of(spec, metrics=ACCOUNT, facts={"tasks": "{}"}), folder=NOWHERE)
    (run,) = children(client, store)
    assert "nmlab.cost" not in run.data.tags
    assert run.data.metrics["cost/seconds"] == 2.5


FIRST = {"nmlab.planned": "5", "nmlab.reproduces": "a/b", "nmlab.git_commit": "aa"}
NEXT = {
    "nmlab.planned": "9",
    "nmlab.study_versions": "2",
    "nmlab.extension.2": "seeds: [0] -> [0, 1]",
    "nmlab.git_commit": "bb",
}


def test_what_an_extension_changes_wins_over_the_parameters(reopen, client):
    store = reopen()
    store.begin(FIRST, {"seeds": [0], "method": "maskpro", "space.alpha.choice": [0.9]})
    store.begin(NEXT, {"seeds": [0, 1], "method": "maskpro", "space.alpha.uniform": [0.1, 0.9]})
    data = client.get_run(store.parent).data
    assert data.params["seeds"] == "[0]", "MLflow's parameters keep their values"
    assert newest_params(data.params, tags=data.tags) == {
        "seeds": "[0, 1]",
        "method": "maskpro",
        "space.alpha.uniform": "[0.1, 0.9]",
    }


def test_an_extension_renews_the_tags_that_depend_on_the_study(reopen, client):
    store = reopen()
    store.begin(FIRST, {})
    store.begin(NEXT, {})
    tags = client.get_run(store.parent).data.tags
    assert {**NEXT, "nmlab.git_commit": "aa"}.items() <= tags.items()
    assert "nmlab.reproduces" not in tags


def test_a_journal_that_is_delivered_again_ends_as_it_was(reopen, client):
    store = reopen()
    for _ in range(2):
        store.begin(FIRST, {"seeds": [0], "method": "maskpro"})
        store.begin(NEXT, {"seeds": [0, 1]})
    data = client.get_run(store.parent).data
    assert newest_params(data.params, tags=data.tags) == {"seeds": "[0, 1]"}
    store.begin(FIRST, {"seeds": [0], "method": "maskpro"})
    data = client.get_run(store.parent).data
    assert not [name for name in data.tags if name.startswith("nmlab.param.")]


def test_a_run_whose_seed_is_one_of_the_study_confirms_nothing_any_more(store, client, spec):
    other = spec.model_copy(update={"seed": 7})
    for each in (spec, other):
        store.begin_trial(each, role="search", tags={"nmlab.confirmation": "true"})
    store.settle_confirmation({spec.key})
    found = [run.data.tags for run in children(client, store)]
    marked = [tags["nmlab.trial_key"] for tags in found if "nmlab.confirmation" in tags]
    assert marked == [other.key]

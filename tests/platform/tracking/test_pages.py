"""`nmlab ui`: the addresses of a study's pages, and the server behind them."""

import socket
import sys

import pytest
from stores import LAUNCH

from nmlab.platform.compat.mlflow_pages import run_path
from nmlab.platform.process.served import serve
from nmlab.platform.tracking import pages
from nmlab.platform.tracking.pages import pages_of, serve_pages
from nmlab.reports.read.errors import ReportError

HERE = {"host": "127.0.0.1", "port": 5011}


def test_a_study_without_trials_opens_on_the_plain_table_of_training_runs(store, client, tracking_uri):
    found = pages_of("quickstart", uri=tracking_uri, **HERE)
    assert found.first == "http://127.0.0.1:5011/nmlab#/experiments/1/runs?workflowType=machine_learning"
    assert found.launch == f"http://127.0.0.1:5011/nmlab{run_path('1', store.parent)}"
    assert found.means == ""


def test_a_study_with_views_opens_on_them(store, tracking_uri, monkeypatch):
    monkeypatch.setattr(pages, "save_views", lambda store, experiment: True)
    found = pages_of(f"quickstart@{LAUNCH}", uri=tracking_uri, **HERE)
    assert found.first.endswith("&viewStateShareKey=nmlab-runs")
    assert found.means.endswith("&viewStateShareKey=nmlab-means")


def test_a_store_that_takes_no_view_still_has_its_plain_page(store, tracking_uri, monkeypatch, caplog):
    def refuse(store, experiment):
        raise ReportError("it may only be read")

    monkeypatch.setattr(pages, "save_views", refuse)
    assert "viewStateShareKey" not in pages_of("quickstart", uri=tracking_uri, **HERE).first
    assert "it may only be read" in caplog.text


def test_without_a_study_the_address_is_that_of_the_store(store, tracking_uri):
    assert pages_of(None, uri=tracking_uri, host="::1", port=5011).first == "http://[::1]:5011/nmlab"


def test_an_unknown_study_is_refused_with_the_nearest(store, tracking_uri):
    with pytest.raises(ValueError, match=r"no launch 'quickstar' in .*; did you mean 'quickstart'"):
        pages_of("quickstar", uri=tracking_uri, **HERE)


def test_asking_a_store_that_is_not_there_does_not_make_one(tmp_path):
    with pytest.raises(ValueError, match="there is no MLflow store at"):
        pages_of("quickstart", uri=f"sqlite:///{tmp_path / 'new.db'}", **HERE)
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_said_before_anything_starts(tracking_uri):
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.raises(RuntimeError, match="is taken; choose"):
        serve_pages(uri=tracking_uri, host="127.0.0.1", port=server.getsockname()[1], ready=lambda: None)


def test_the_server_gets_the_store_and_no_workers_that_nothing_uses(tracking_uri, monkeypatch):
    seen = {}
    monkeypatch.setattr(pages, "serve", lambda command, **given: seen.update(given, command=command) or 0)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    serve_pages(uri=tracking_uri, host="127.0.0.1", port=port, ready=lambda: None)
    assert seen["environment"]["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert tracking_uri in seen["environment"].values()
    assert not any(tracking_uri in word for word in seen["command"]), "an address may hold a password"
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "true")
    serve_pages(uri=tracking_uri, host="127.0.0.1", port=port, ready=lambda: None)
    assert seen["environment"]["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "true", "the user's choice stays"


WAITS = "import pathlib, sys, time\nwhile not pathlib.Path(sys.argv[1]).exists(): time.sleep(0.05)"


def test_a_server_is_ready_once_it_answers_and_never_if_it_ends_before(tmp_path):
    asked, end = [], tmp_path / "end"
    answers = lambda: asked.append(None) or len(asked) == 3  # noqa: E731
    assert serve([sys.executable, "-S", "-c", WAITS, str(end)], answers=answers, ready=end.touch) == 0
    assert len(asked) == 3
    end.unlink()
    assert serve([sys.executable, "-S", "-c", "raise SystemExit(3)"], answers=lambda: False, ready=end.touch) == 3
    assert not end.exists()

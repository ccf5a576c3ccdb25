"""Every private part of MLflow's web pages that nmlab uses, looked up in the installed version."""

import asyncio
import base64
import json
import zlib
from functools import cache
from pathlib import Path

import mlflow
import pytest
from mlflow.server import constants
from mlflow.utils import validation

from nmlab.platform.compat import mlflow_pages
from nmlab.platform.compat.mlflow_pages import Charts, column, page_path, run_path, saved_view, view_tag
from nmlab.platform.compat.mlflow_server import BROWSER_CHOICES, app, server_environment

SCRIPTS = Path(mlflow.__file__).parent / "server" / "js" / "build" / "static" / "js"
READ_BY_PAGES = {
    "the kind of an experiment": ('"mlflow.experimentKind"', '"custom_model_development"'),
    "the pages for training": ('"workflowType"', '"machine_learning"'),
    "the tag of a saved view": ('"mlflow.sharedViewState."', '"viewStateShareKey"'),
    "the envelope of a saved view": ("createdAt", "saved-view envelope", '"deflate;"'),
    "columns": ('"selectedColumns"', '"columnOrder"', '"columnWidths"', '"Run Name"'),
    "order and filter": ('"searchFilter"', '"orderByKey"', '"orderByAsc"'),
    "groups": ('"groupBy"', "groupByKeys", "groupByData", "aggregateFunction", '"average"', '"tag"'),
    "charts": ('"compareRunCharts"', '"compareRunSections"', '"isAccordionReordered"', "metricSectionId", "metricKey"),
    "kinds of charts": ('"LINE"', '"BAR"', '"PARALLEL"', "selectedParams", "selectedMetrics"),
    "which runs charts show": ('"runsHiddenMode"', '"FIRST_20_RUNS"'),
    "which groups are open": ('"groupsExpanded"',),
    "choices in the browser": tuple(f'"{name.removesuffix("_v1")}",version:1' for name in BROWSER_CHOICES),
}


@cache
def scripts():
    return "".join(path.read_text(encoding="utf-8") for path in sorted(SCRIPTS.glob("*.js")))


@pytest.mark.parametrize("what", READ_BY_PAGES)
def test_mlflows_pages_still_read(what):
    missing = [text for text in READ_BY_PAGES[what] if text not in scripts()]
    assert not missing, f"MLflow {mlflow.__version__} does not read {what} any more: its pages lack {missing}"


def test_the_server_still_reads_its_store_from_the_environment():
    known = {text for text in vars(constants).values() if isinstance(text, str)}
    assert {*server_environment("sqlite:///x.db")} <= known


def test_the_opening_page_makes_choices_that_the_user_did_not_make_and_goes_on():
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(app({"type": "http", "path": "/nmlab"}, None, send))
    start, body = sent
    assert start["status"] == 200
    text = body["body"].decode()
    assert all(name in text for name in BROWSER_CHOICES)
    assert "getItem(name) === null" in text
    assert "location.hash" in text


def test_the_server_still_has_the_switch_for_workers_of_jobs():
    for name in mlflow_pages.no_unused_workers():
        assert hasattr(mlflow.environment_variables, name)


def test_a_tag_of_an_experiment_has_room_for_a_view():
    assert validation.MAX_EXPERIMENT_TAG_VAL_LENGTH >= mlflow_pages._LONGEST


def test_a_saved_view_is_an_envelope_around_its_state_and_the_state_beside_it():
    state = {"selectedColumns": ["a"], "orderByAsc": True}
    kept = json.loads(saved_view("all runs", state, made=7))
    assert kept == {"name": "all runs", "createdAt": 7, "updatedAt": 7, "state": kept["state"], **state}
    packed = base64.b64decode(kept["state"].removeprefix("deflate;"))
    assert json.loads(zlib.decompress(packed)) == state


def test_a_view_that_is_too_long_for_a_tag_is_kept_compressed_alone():
    state = {"selectedColumns": ["a long name"] * 2000}
    value = saved_view("all runs", state, made=7)
    assert set(json.loads(value)) == {"name", "createdAt", "updatedAt", "state"}
    assert len(value) < mlflow_pages._LONGEST


def test_addresses_open_the_pages_for_training():
    assert view_tag("x") == "mlflow.sharedViewState.x"
    assert page_path("7") == "#/experiments/7/runs?workflowType=machine_learning"
    assert page_path("7", view="x").endswith("&viewStateShareKey=x")
    assert run_path("7", "ab", artifact="report/a b.html").startswith("#/experiments/7/runs/ab/artifacts/report/a%20b")
    assert column("metrics", "a/b") == "metrics.`a/b`"


def test_charts_are_in_their_sections_and_those_left_out_are_marked_as_deleted():
    charts = Charts()
    charts.add_section("Curves", curves=["train/loss"])
    charts.add_section("Empty")
    charts.add_section("Cost", bars=["cost/seconds"])
    charts.leave_out(["memory/state_bytes"])
    state = charts.state()
    curves, cost = state["compareRunSections"]
    assert (curves["name"], cost["name"]) == ("Curves", "Cost")
    assert [(card["type"], card["metricKey"], card["metricSectionId"], card["deleted"]) for card in
            state["compareRunCharts"]] == [
        ("LINE", "train/loss", curves["uuid"], False),
        ("BAR", "cost/seconds", cost["uuid"], False),
        ("BAR", "memory/state_bytes", curves["uuid"], True),
    ]  # fmt: skip

"""The views of a study's runs on which MLflow's pages open: its columns, its order and its charts.

They are built from what the store has, and saved with the experiment, once a launch or when `nmlab ui` finds them out
of date. A view lists the trials alone; the run of the launch is a page of its own.
"""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from nmlab.platform.compat.mlflow_pages import Charts, column, group_name, saved_view, view_tag
from nmlab.reports.read.objective import Objective, objective_of
from nmlab.reports.read.store import PAGE, RunStore, reading
from nmlab.trials.contract import run_params, run_tags
from nmlab.trials.contract.declarations import metric_of
from nmlab.trials.contract.metrics import OBJECTIVE, Phase
from nmlab.trials.contract.run_params import newest_params
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.run_tags import Role, RunKind, condition

if TYPE_CHECKING:
    from mlflow.entities import Run

RUNS_VIEW, MEANS_VIEW = "nmlab-runs", "nmlab-means"
"""The keys of the two views: every trial, and the mean of every configuration over its seeds."""
_SECONDS = "cost/seconds"
_COSTS = (_SECONDS, "cost/tokens", "memory/peak_bytes", "time/step_s")
_MOST_SETTINGS = 8
_FIRST_COLUMNS = {column("attributes", "Run Name"): 400, "runDateAndNestInfo": 50}
"""What is always shown first, by width in pixels; the second is a sign for the status, and the time of the start."""
_WIDTH, _WIDTH_OF_SEED = 80, 50
_MOST_CLOSED = 100
"""Groups that begin closed; more would not fit into a tag."""


@dataclass(frozen=True)
class TrialTable:
    """The trials of a study as MLflow has them, the newest first.

    Attributes:
        objective: of the newest launch.
        launches: the run ids of its launches.
        trials: the runs of its newest trials.
        curves: the metrics of which a trial has values at several steps.
    """

    objective: Objective
    launches: Sequence[str]
    trials: Sequence["Run"]
    curves: Sequence[str] = field(default=())

    @cached_property
    def settings(self) -> tuple[str, ...]:
        """The parameters in which trials of one method differ, those of the search first."""
        searched = [run for run in self.trials if run.data.tags.get(run_tags.ROLE) == Role.SEARCH]
        names = dict.fromkeys([*_differing(searched), *_differing(self.trials)])
        return tuple(name for name in names if name not in run_params.IDENTITY)[:_MOST_SETTINGS]

    @cached_property
    def has_patterns(self) -> bool:
        return len({run.data.params.get(run_params.PATTERN) for run in self.trials}) > 1

    @cached_property
    def telling_metrics(self) -> tuple[str, ...]:
        """The metrics that differ between trials and repeat no other one, by name."""
        found: dict[tuple[tuple[str, float], ...], str] = {}
        first = (self.objective.metric, self.objective.reported, _SECONDS)
        for name in (*first, *sorted(self.metrics)):
            values = [(run.info.run_id, run.data.metrics[name]) for run in self.trials if name in run.data.metrics]
            if len({value for _, value in values if math.isfinite(value)}) > 1:
                found.setdefault(tuple(values), name)
        return tuple(sorted(found.values()))

    @cached_property
    def metrics(self) -> frozenset[str]:
        return frozenset(name for run in self.trials for name in run.data.metrics)

    @property
    def ordered_by(self) -> str:
        """The metric by which trials are sorted; finished trials of earlier versions have no ``objective``."""
        own = [run.data for run in self.trials if run_tags.JUDGED not in run.data.tags]
        finished = [data.metrics for data in own if data.tags.get(run_tags.STATUS) == TrialStatus.FINISHED]
        is_complete = bool(finished) and all(OBJECTIVE in metrics for metrics in finished)
        return OBJECTIVE if is_complete else self.objective.metric

    @property
    def grouped_by(self) -> str:
        """The tag that the seeds of a configuration share."""
        named = all(run_tags.CONFIGURATION_NAME in run.data.tags for run in self.trials)
        return run_tags.CONFIGURATION_NAME if named else run_tags.CONFIGURATION


def read_trials(store: RunStore, experiment: str) -> TrialTable | None:
    """Return the newest trials of an experiment; None without a launch or a trial."""
    launches = store.launches(experiment)
    wanted, newest_first = condition(run_tags.KIND, RunKind.TRIAL), ["attributes.start_time DESC"]
    with reading(store.uri):
        trials = store.client.search_runs([experiment], wanted, order_by=newest_first, max_results=PAGE)
    if not launches or not trials:
        return None
    newest = launches[0].data
    objective = objective_of(newest_params(newest.params, tags=newest.tags))
    ids = [run.info.run_id for run in launches]
    return TrialTable(objective, ids, trials, curves=_curves(store, trials))


def save_views(store: RunStore, experiment: str) -> bool:
    """Save the views of a study's runs where they are missing or out of date; return whether the study has any.

    Raises:
        ReportError: the store cannot be read, or does not take them.
    """
    table = read_trials(store, experiment)
    if table is None:
        return False
    with reading(store.uri):
        tags: Mapping[str, str] = store.client.get_experiment(experiment).tags
        for key, title, is_grouped in ((RUNS_VIEW, "all runs", False), (MEANS_VIEW, "means over seeds", True)):
            _save(store, experiment, tags=tags, key=key, title=title, state=view_state(table, is_grouped=is_grouped))
    return True


def view_state(table: TrialTable, *, is_grouped: bool) -> dict[str, object]:
    """Return a view as the page keeps it."""
    columns = _columns(table, is_grouped=is_grouped)
    widths = {**_FIRST_COLUMNS, **dict.fromkeys(columns, _WIDTH), column("params", run_params.SEED): _WIDTH_OF_SEED}
    by_tag = {"mode": "tag", "groupByData": table.grouped_by}
    return {
        "searchFilter": condition(run_tags.KIND, RunKind.TRIAL),
        "orderByKey": column("metrics", table.ordered_by),
        "orderByAsc": table.objective.mode == "min",
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "modelVersionFilter": "All Runs",
        "datasetsFilter": [],
        "selectedColumns": columns,
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsExpanded": dict.fromkeys(table.launches, True),
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "FIRST_20_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "groupBy": {"aggregateFunction": "average", "groupByKeys": [by_tag]} if is_grouped else None,
        "groupsExpanded": dict.fromkeys(_groups(table), False) if is_grouped else {},
        "useGroupedValuesInCharts": True,
        "autoRefreshEnabled": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        "chartsSearchFilter": "",
        **_charts(table).state(),
    }


def _columns(table: TrialTable, *, is_grouped: bool) -> list[str]:
    """Return the columns: how a trial came out before its settings, which its name gives too.

    A group has means of numbers alone: neither a method nor a status, and the mean of its seeds says nothing.
    """
    pattern = [run_params.PATTERN] if table.has_patterns else []
    own = [] if is_grouped else [run_params.METHOD, *pattern, run_params.SEED]
    measured = dict.fromkeys([table.ordered_by, table.objective.reported])
    return [
        *(column("params", name) for name in own),
        *(column("metrics", name) for name in measured),
        *([] if is_grouped else [column("tags", run_tags.STATUS)]),
        column("metrics", _SECONDS),
        *(column("params", name) for name in table.settings),
    ]


def _groups(table: TrialTable) -> list[str]:
    """Return the groups of the view of means, as the page calls them."""
    found = dict.fromkeys(run.data.tags[table.grouped_by] for run in table.trials)
    return [group_name(table.grouped_by, value) for value in found][:_MOST_CLOSED]


def _charts(table: TrialTable) -> Charts:
    """Return the charts: curves, settings against the objective, results, costs; none of what never differs."""
    objective, telling = table.objective, set(table.telling_metrics)
    results = [name for name in dict.fromkeys([objective.reported, objective.metric]) if name in telling]
    costs = [name for name in _COSTS if name in telling]
    curves = sorted(table.curves, key=lambda name: (name != objective.metric, name != "train/loss"))
    charts = Charts()
    charts.add_section("Curves", curves=curves)
    if table.settings:
        charts.add_parallel("Settings", params=table.settings, metrics=[objective.metric])
    charts.add_section("Results", bars=[name for name in results if name not in curves])
    charts.add_section("Cost", bars=costs)
    charts.leave_out(sorted(table.metrics - {*curves, *results, *costs}))
    return charts


def _curves(store: RunStore, trials: Sequence["Run"]) -> list[str]:
    """Return the metrics with values at several steps, by a trial of each method; those of searched methods first."""
    newest: dict[str, Run] = {}
    finished = [run for run in trials if run.data.tags.get(run_tags.STATUS) == TrialStatus.FINISHED]
    for run in sorted(finished, key=lambda each: each.data.tags.get(run_tags.ROLE) != Role.SEARCH):
        newest.setdefault(run.data.params.get(run_params.METHOD, ""), run)
    with reading(store.uri):
        return list(dict.fromkeys(name for run in newest.values() for name in _curves_of(store, run)))


def _curves_of(store: RunStore, run: "Run") -> list[str]:
    phases = (Phase.CURVE, Phase.EVALUATION)
    names = [name for name in sorted(run.data.metrics) if name != OBJECTIVE and metric_of(name).phase in phases]
    histories = {name: store.client.get_metric_history(run.info.run_id, name) for name in names}
    return [name for name, points in histories.items() if len({point.value for point in points}) > 1]


def _differing(runs: Iterable["Run"]) -> list[str]:
    own: dict[str, list[Mapping[str, str]]] = {}
    for run in runs:
        own.setdefault(run.data.params.get(run_params.METHOD, ""), []).append(run.data.params)
    found = {
        name
        for params in own.values()
        for name in {name for each in params for name in each}
        if len({each.get(name) for each in params}) > 1
    }
    return sorted(found, key=lambda name: ("." in name, name))


def _save(
    store: RunStore, experiment: str, *, tags: Mapping[str, str], key: str, title: str, state: Mapping[str, object]
) -> None:
    name = view_tag(key)
    made = json.loads(tags[name])["createdAt"] if name in tags else int(time.time() * 1000)
    if (value := saved_view(title, state, made=made)) != tags.get(name):
        store.client.set_experiment_tag(experiment, name, value)

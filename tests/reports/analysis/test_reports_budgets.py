"""Equal budgets and fronts: the value of a run within a budget, and configurations that nothing dominates."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured import as_curves, with_metrics

from nmlab.reports.analysis.analysis import analyse
from nmlab.reports.analysis.budgets import Trajectory, equal_budgets, front, front_points
from nmlab.reports.figures import draw_pareto, pareto_panels
from nmlab.reports.read.collect import collect
from nmlab.reports.tables.budget import equal_budget_table, pareto_table
from nmlab.trials.contract.metrics import initial_name

few = st.integers(0, 4).map(float)
COSTS = {"cost/tokens": 100.0, "cost/forwards": 10.0, "cost/seconds": 2.0}


def priced(configuration, values, *, method, learned=True, tokens=100.0, start=0.0, **settings):
    """A configuration whose runs cost ``tokens`` tokens, of which ``start`` went into the initial mask."""
    item = configuration(values, method=method, **settings)
    extra = {**COSTS, "cost/tokens": tokens, "cost/initial_tokens": start}
    columns = {name: [value] * len(values) for name, value in extra.items()}
    if learned:
        columns[initial_name("eval/perplexity")] = [99.0] * len(values)
    with_metrics(item, columns)
    return item


def progress_of(*parts):
    """Evaluations of some configurations: each a pair of an item and its values by step, the same for every seed."""
    records = [
        {"run_id": run_id, "step": step, "value": value}
        for item, points in parts
        for run_id in item.run_ids
        for step, value in points.items()
    ]
    return as_curves(records)


def test_steps_cost_the_same_after_the_initial_mask_is_paid():
    path = Trajectory("r", (0, 5, 10), (90.0, 70.0, 60.0), {"tokens": 120.0}, {"tokens": 20.0}, is_trained=True)
    assert [path.cost_at(step, kind="tokens") for step in path.steps] == [20.0, 70.0, 120.0]
    assert path.reached(120.0, kind="tokens") == (10, 60.0)
    assert path.reached(119.0, kind="tokens") == (5, 70.0)
    assert path.reached(69.0, kind="tokens") is None  # only the initial mask was evaluated by then


def test_a_rule_is_reached_when_its_whole_cost_is_paid():
    path = Trajectory("r", (0,), (90.0,), {"tokens": 20.0}, {"tokens": 0.0}, is_trained=False)
    assert path.reached(20.0, kind="tokens") == (0, 90.0)
    assert path.reached(19.0, kind="tokens") is None


def test_every_method_has_the_budget_of_the_cheapest_trained_one(configuration):
    cheap = priced(configuration, [50.0, 52.0], method="susi", tokens=100.0)
    dear = priced(configuration, [30.0, 31.0], method="maskpro", tokens=400.0)
    rule = priced(configuration, [80.0], method="wanda", learned=False, tokens=10.0, role="baseline")
    progress = progress_of(
        (cheap, {0: 99.0, 10: 51.0}), (dear, {0: 99.0, 5: 70.0, 10: 60.0, 40: 30.5}), (rule, {0: 80.0})
    )
    tokens, forwards, seconds = equal_budgets([dear, cheap, rule], progress=progress)
    assert (tokens.kind, tokens.budget) == ("tokens", 100.0)
    assert [(entry.item.method, entry.value.mean, entry.step) for entry in tokens.reached] == [
        ("susi", 51.0, 10),
        ("maskpro", 60.0, 10),
        ("wanda", 80.0, 0),
    ]
    assert [entry.item.method for entry in forwards.reached] == ["maskpro", "susi", "wanda"]  # the same forwards
    assert seconds.budget == 2.0


def test_the_best_configuration_within_the_budget_need_not_be_the_best_in_the_end(configuration):
    other = priced(configuration, [90.0], method="susi", tokens=100.0)
    slow = priced(configuration, [20.0], method="maskpro", tokens=400.0, alpha=1)
    fast = priced(configuration, [40.0], method="maskpro", tokens=400.0, alpha=2)
    progress = progress_of((other, {10: 90.0}), (slow, {10: 70.0, 40: 20.0}), (fast, {10: 45.0, 40: 40.0}))
    tokens = equal_budgets([slow, fast, other], progress=progress)[0]
    assert tokens.reached[0].item is fast


def test_a_run_that_was_not_evaluated_in_time_is_unknown_and_last(configuration):
    cheap = priced(configuration, [50.0], method="susi", tokens=100.0)
    dear = priced(configuration, [30.0], method="maskpro", tokens=400.0)
    progress = progress_of((cheap, {0: 99.0, 10: 50.0}), (dear, {0: 99.0, 40: 30.0}))
    budgets = equal_budgets([dear, cheap], progress=progress)
    table = equal_budget_table([dear, cheap], budgets=budgets[:1])
    assert [cell.value for cell in table.column("eval/perplexity")] == [50.0, None]
    assert [cell.value for cell in table.column("within")] == ["10 of 10", "not evaluated within it"]
    assert any("evaluate_every" in note for note in table.notes)


def test_one_trained_method_has_no_equal_budget(configuration):
    only = priced(configuration, [50.0], method="susi")
    assert equal_budgets([only], progress=progress_of((only, {10: 50.0}))) == ()


@settings(deadline=None)
@given(st.lists(st.tuples(few, few), max_size=12))
def test_the_front_is_what_nothing_dominates(points):
    costs, losses = [cost for cost, _ in points], [loss for _, loss in points]

    def dominated(cost, loss):
        return any(a <= cost and b <= loss and (a, b) != (cost, loss) for a, b in points)

    assert front(costs, losses=losses) == [not dominated(cost, loss) for cost, loss in points]


def test_a_front_needs_a_loss_for_every_cost():
    with pytest.raises(ValueError, match="a loss for every cost but got 1 for 2"):
        front([1.0, 2.0], losses=[1.0])


def test_front_of_the_small_study(analysis):
    points = {point.item.method: point for point in analysis.front if point.on_front}
    assert set(points) == {"wanda", "maskpro"}  # magnitude costs the same and is worse
    assert points["wanda"].on_front == ("cost/seconds",)  # memory is the same everywhere, so it makes no front
    assert points["maskpro"].value.mean == 80.0
    table = pareto_table(analysis.configurations, points=analysis.front)
    assert [cell.value for cell in table.column("fronts")] == ["seconds", "seconds"]


def test_a_metric_that_grows_is_better_on_top(configuration):
    items = [
        priced(configuration, [value], method="maskpro", tokens=tokens, mode="max", alpha=value)
        for value, tokens in ((0.5, 10.0), (0.4, 20.0), (0.9, 30.0))
    ]
    points = front_points(items)
    assert [("cost/tokens" in point.on_front) for point in points] == [True, False, True]


def test_the_figure_says_which_are_on_the_front(analysis):
    info = pareto_panels(analysis.front, objective=analysis.runs.objective)
    (panel,) = info.panels
    assert panel.cost == "cost/seconds"
    assert set(info.labels) == {"maskpro", "magnitude", "wanda"}
    assert (panel.group, panel.stairs) == ("", ((1.0, 120.0), (11.0, 80.0)))
    assert sum(sum(series.on_front) for series in panel.series) == 2
    assert draw_pareto(info).svg.startswith(b"<?xml")


def test_groups_that_are_not_compared_have_a_row_each(configuration):
    items = []
    for pattern in ("2:4", "4:8"):
        for value, tokens in ((50.0, 20.0), (70.0, 10.0)):
            items.append(priced(configuration, [value], method="maskpro", tokens=tokens, alpha=value))
            object.__setattr__(items[-1], "pattern", pattern)
    info = pareto_panels(front_points(items), objective=items[0].objective)
    assert [(panel.place, panel.group, panel.cost) for panel in info.panels] == [
        (0, "2:4", "cost/tokens"),
        (2, "4:8", "cost/tokens"),
    ]
    assert info.labels == ("maskpro",)
    assert {panel.stairs for panel in info.panels} == {((10.0, 70.0), (20.0, 50.0))}
    assert draw_pareto(info).svg.startswith(b"<?xml")


@pytest.mark.parametrize(
    ("tokens", "ticks"),
    [
        ((0.0, 16384.0, 2e6), ["0", "100k", "1M"]),  # 1,000 and 10,000 would lie upon each other where it is linear
        ((0.0, 10.0, 1000.0), ["0", "10", "100", "1000"]),
        ((512.0, 16384.0, 2e6), ["1000", "10k", "100k", "1M"]),
    ],
)
def test_ticks_of_a_cost_that_may_be_zero_do_not_overlap(configuration, tokens, ticks):
    items = [
        priced(configuration, [100.0 - place], method="maskpro", tokens=count, alpha=place)
        for place, count in enumerate(tokens)
    ]
    text = draw_pareto(pareto_panels(front_points(items), objective=items[0].objective)).svg.decode()
    drawn = re.findall(r"<!-- (\S+) -->", text)
    assert [label for label in drawn if label in {"0", "10", "100", "1000", "10k", "100k", "1M"}] == ticks


def test_without_a_cost_that_differs_there_is_no_figure(configuration):
    items = [priced(configuration, [value], method="maskpro", alpha=value) for value in (1.0, 2.0)]
    info = pareto_panels(front_points(items), objective=items[0].objective)
    assert info.skipped == "no cost differs between comparable masks"
    assert draw_pareto(info).svg == b""


def test_budgets_of_a_recorded_study(writer, store, trial):
    trials = []
    for method, steps, final in (("maskpro", 100, 60.0), ("susi", 20, 70.0)):
        for seed in range(2):
            cost = {"cost/tokens": steps * 10.0}
            trials.append(trial(method, seed, final + seed, 99.0, {"alpha": "1"}, residual=[0.0] * steps, metrics=cost))
    writer.launch("budgets", trials, name="budgets-1")
    found = analyse(store, runs=collect(store, study="budgets"))
    assert [(budget.kind, budget.budget) for budget in found.budgets] == [
        ("tokens", 200.0), ("forwards", 21.0), ("seconds", 3.0)]  # fmt: skip
    assert [entry.value.mean if entry.value else None for entry in found.budgets[0].reached] == [70.5, None]
    assert math.isclose(found.budgets[0].reached[0].value.half_width, 6.353, rel_tol=1e-3)

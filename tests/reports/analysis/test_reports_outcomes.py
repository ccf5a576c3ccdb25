"""Where runs ended early, what the search cost, and which peaks of memory are more than noise."""

import math

import pytest
from measured import with_facts, with_metrics

from nmlab.reports.analysis.budgets import front_points
from nmlab.reports.analysis.budgets.pareto import peaks_differ
from nmlab.reports.analysis.price import price_of
from nmlab.reports.analysis.space.outcomes import Outcome, outcomes_of
from nmlab.reports.analysis.totals import total_of
from nmlab.reports.figures import draw_outcomes, draw_pareto, pareto_panels
from nmlab.reports.tables.price import price_table


def test_outcomes_of_the_small_study(configurations):
    info = outcomes_of(configurations)
    assert dict(zip(info.kinds, info.runs, strict=True)) == {
        Outcome.FINISHED: 13,
        Outcome.DIVERGED: 1,
        Outcome.FAILED: 1,
    }
    (alpha,) = info.settings
    lost = {
        (point.value, str(point.outcome), len(point.run_ids))
        for point in alpha.points
        if point.outcome != "ran to the end"
    }
    assert lost == {(0.7, "diverged", 1), (0.9, "failed", 1)}
    figure = draw_outcomes(info)
    assert "13 runs ran to the end, 1 run diverged, 1 run failed" in figure.caption
    assert "the others at alpha 0.7 to 0.9" in figure.alternative


def test_what_the_search_stopped_is_not_what_a_person_stopped(configuration):
    items = [configuration([50.0, math.nan], alpha=alpha) for alpha in (1, 2)]
    by_search, by_person = items
    with_facts(by_search, status="stopped", reason="stopped early: others did better")
    with_facts(by_person, status="stopped", reason="interrupted")
    info = outcomes_of(items)
    assert (info.kinds, info.runs) == ((Outcome.STOPPED_EARLY,), (2,))
    assert [(point.key, point.value) for point in info.settings[0].points] == [(by_search.key, 1)]


def test_without_early_ends_there_is_no_figure(configuration):
    info = outcomes_of([configuration([50.0], alpha=1), configuration([60.0], alpha=2)])
    assert info.skipped == "no run of the search was stopped early, diverged or failed"
    assert draw_outcomes(info).svg == b""


def test_the_parts_of_the_price_sum_to_the_total(configurations):
    *parts, whole = price_of(configurations)
    total = total_of(configurations)
    assert whole.name == "together"
    assert (whole.sums["cost/seconds"], len(whole.run_ids), whole.unknown) == (
        pytest.approx(total.value), total.runs, total.unknown,
    )  # fmt: skip
    for kind, value in whole.sums.items():
        assert math.fsum(part.sums[kind] for part in parts) == pytest.approx(value)
    assert sorted(run for part in parts for run in part.run_ids) == sorted(whole.run_ids)


def test_the_price_names_how_runs_ended(configurations):
    table = price_table(configurations)
    assert [cell.value for cell in table.column("part")] == [
        "search, ran to the end",
        "search, diverged",
        "search, failed",
        "baselines",
        "together",
    ]
    assert [cell.value for cell in table.column("runs")] == [13, 1, 1, 3, 18]
    assert sum(cell.value or 0.0 for cell in table.column("share")[:-1]) == pytest.approx(100.0, abs=0.2)
    assert all(row.run_ids for row in table.rows)


def test_without_a_known_cost_there_is_no_price(configuration):
    assert price_of([configuration([50.0], alpha=1)]) == ()


PEAK = "memory/peak_bytes"


@pytest.mark.parametrize(
    ("peaks", "differ"),
    [
        (([670e6, 671e6], [684e6, 685e6]), False),  # 2% of the process
        (([670e6, 900e6], [800e6, 805e6]), False),  # runs of one configuration differ as far
        (([670e6, 671e6], [900e6, 905e6]), True),
        (([670e6], [900e6]), True),
        (([670e6, 671e6],), False),
    ],
)
def test_peaks_of_a_process_count_where_they_differ_by_more_than_their_noise(configuration, peaks, differ):
    items = [
        with_metrics(configuration([50.0 + place] * len(own), alpha=place), {PEAK: own})
        for place, own in enumerate(peaks)
    ]
    assert peaks_differ(items) is differ
    assert any(PEAK in point.costs for point in front_points(items)) is differ


def test_peaks_within_their_noise_are_not_drawn_and_the_figure_says_so(configuration):
    items = [
        with_metrics(configuration([50.0 + place], alpha=place), {PEAK: 670e6 + place, "cost/tokens": 10.0 - place})
        for place in range(3)
    ]
    info = pareto_panels(front_points(items), objective=items[0].objective)
    assert [panel.cost for panel in info.panels] == ["cost/tokens"]
    assert "Peak memory is not drawn: it is that of the whole process" in draw_pareto(info).caption

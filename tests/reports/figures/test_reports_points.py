"""What a reader can point at: its place lies on the drawing, its number is that of the tables, its runs are known."""

import re

import matplotlib
import numpy as np
import pytest

from nmlab.reports.figures import draw_pareto, draw_ranking, pareto_panels, ranking_of
from nmlab.reports.figures.points import Spot, listed, placed, thinned
from nmlab.reports.figures.style import SETTINGS, new_figure, saved
from nmlab.reports.render.html import inline_svg
from nmlab.reports.values import cell_text

KEYS = ("ranking", "pareto", "sensitivity", "outcomes", "parallel_coordinates", "loss_residual", "step_cost")


def figures(document):
    return {figure.key: figure for figure in document.figures if not figure.skipped}


def test_a_point_is_placed_where_matplotlib_draws_it():
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(3.0)
        axes = figure.add_subplot()
        axes.scatter([2.0, 30.0], [5.0, 7.0], color="#0d43ba", marker="o")
        axes.set_xscale("log")
        spots = [Spot(axes, ((2.0, 5.0),), "a"), Spot(axes, ((30.0, 7.0),), "b"), Spot(axes, ((1e9, 5.0),), "far")]
        drawn = saved(figure, key="k", title="K", caption="C.", alternative="Two.", spots=spots)
    uses = re.findall(r'<use xlink:href="#\w+" x="([\d.]+)" y="([\d.]+)" style="fill: #0d43ba', drawn.svg.decode())
    places = [point.places[0] for point in drawn.points]
    assert len(places) == len(uses) == 2  # what lies outside of its panel is no point
    assert np.allclose(places, np.array(uses, dtype=float), atol=0.06)


def test_a_value_that_is_no_number_is_no_point():
    figure = new_figure(3.0)
    axes = figure.add_subplot()
    assert placed([Spot(axes, ((float("nan"), 0.5),), "nan")], figure=figure) == ()
    assert len(placed([Spot(axes, ((0.5, 0.5),), "there")], figure=figure)) == 1


@pytest.mark.parametrize("key", KEYS)
def test_every_point_of_a_configuration_leads_to_runs_of_it(document, runs, key):
    own = {trial.run_id: trial.configuration for trial in runs.trials}
    points = figures(document)[key].points
    assert points
    for point in points:
        assert point.run_ids
        assert {own[run_id] for run_id in point.run_ids} == {point.configuration}
        assert point.text.endswith(f"{len(point.run_ids)} run" + "s" * (len(point.run_ids) != 1))


def test_the_number_of_a_point_is_that_of_the_table(document):
    table = next(table for table in document.tables if table.key == "configurations")
    column = next(column for column in table.columns if column.key == "eval/perplexity")
    means = dict(zip((cell.value for cell in table.column("configuration")), table.column(column.key), strict=True))
    points = figures(document)["ranking"].points
    assert len(points) == 5
    for point in points:
        cell = means[point.configuration]
        assert f"perplexity {cell_text(cell, column=column)}" in point.text
        assert point.run_ids == cell.run_ids


def test_every_drawing_says_in_words_what_it_shows(document):
    for figure in figures(document).values():
        assert re.search(r"\d", figure.alternative), figure.key
        assert figure.alternative.endswith("."), figure.key
    assert "0.99 perplexity 80.0 ± 5.0" in figures(document)["ranking"].alternative


def test_a_page_holds_each_point_with_its_runs_and_its_configuration(document, runs):
    known = {trial.run_id for trial in runs.trials}
    for figure in figures(document).values():
        svg = inline_svg(figure, links=document.links)
        links = re.findall(
            r'<a class="point[^"]*" href="([^"]+)" data-runs="([^"]+)" data-configuration="(\w+)"><title>([^<]+)', svg
        )
        assert len(links) == sum(bool(point.run_ids) for point in figure.points)
        for href, ids, _, _ in links:
            assert set(ids.split()) <= known
            assert href == document.links.run(ids.split()[0])
        assert svg.count('aria-hidden="true"') == 1  # the drawing itself, which the label says in words
        assert ('role="group"' in svg) is bool(figure.points)


def test_of_many_points_the_front_and_some_of_the_others_are_drawn(configuration, monkeypatch):
    monkeypatch.setattr("nmlab.reports.figures.pareto.MOST_POINTS", 10)
    assert thinned(range(10), kept=[3], most=10) == list(range(10))
    kept = thinned(range(100), kept=[7, 93], most=10)
    assert {7, 93} <= set(kept)
    assert 8 <= len(kept) <= 11
    assert kept == sorted(kept)


def test_thinning_is_said(configuration, analysis, monkeypatch):
    monkeypatch.setattr("nmlab.reports.figures.pareto.MOST_POINTS", 3)
    figure = draw_pareto(pareto_panels(analysis.front, objective=analysis.runs.objective))
    assert f"Of {len(analysis.front)} points about 3 are drawn" in figure.caption
    assert len(figure.points) < len(analysis.front)
    assert "on the front" in "".join(point.text for point in figure.points)


def test_words_of_a_text_alternative_end():
    assert listed(["a", "b"]) == "a; b."
    assert listed(list("abcdefgh"), most=3) == "a; b; c; and 5 more."


def test_fresh_seeds_have_points_with_their_own_runs(configurations):
    assert {point.text.split()[0] for point in draw_ranking(ranking_of(configurations)).points} == {"perplexity"}

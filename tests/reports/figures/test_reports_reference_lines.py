"""Reference lines of the ranking: looks by method, lines beyond the axis, and names that do not overlap."""

from dataclasses import replace
from itertools import combinations

import matplotlib
import pytest

from nmlab.reports.analysis.ranking import RankedPoint, Ranking, ReferenceLine
from nmlab.reports.figures.ranking import draw_ranking
from nmlab.reports.figures.reference_lines import is_left_out, label_lines, shown_range
from nmlab.reports.figures.style import SETTINGS, method_look, new_figure
from nmlab.reports.statistics import MeanEstimate

METHODS = ("dense", "magnitude", "wanda", "sparsegpt_mask", "susi", "pruner_zero", "gblm")


def ranking(lines, *, is_log=False, fresh=None):
    points = tuple(
        RankedPoint("abcd", str(mean), mean, mean - 2, mean + 2, None, True, fresh=fresh) for mean in (80.0, 82.0, 81.0)
    )
    shown = tuple(ReferenceLine(name, value, 0, 2) for name, value in lines.items())
    return Ranking("eval/perplexity", ("alpha",), points, shown, 0, 0, is_log)


def test_a_method_looks_the_same_whatever_else_is_drawn():
    assert len({method_look(name) for name in METHODS}) == len(METHODS)
    assert method_look("of_a_plugin") == method_look("of_a_plugin") != method_look("dense")
    drawn = [draw_ranking(ranking(lines)).svg for lines in ({"wanda": 83.0}, {"magnitude": 83.5, "wanda": 83.0})]
    assert all(method_look("wanda")[0].encode() in svg for svg in drawn)
    assert method_look("magnitude")[0].encode() not in drawn[0]


@pytest.mark.parametrize("is_log", [False, True])
def test_lines_far_from_all_points_do_not_take_the_room_of_these(is_log):
    info = ranking({"dense": 23.0, "wanda": 84.5, "magnitude": 140.0}, is_log=is_log)
    assert [is_left_out(line, info) for line in info.lines] == [True, False, True]
    low, high = shown_range(info)
    assert 77 < low < 78
    assert 84.5 < high < 86
    assert "An arrow: that line lies beyond the axis" in draw_ranking(info).caption
    assert "An arrow" not in draw_ranking(ranking({"wanda": 84.5})).caption


@pytest.mark.parametrize("is_log", [False, True])
def test_a_configuration_that_lacks_seeds_does_not_stretch_the_axis(is_log):
    whole = ranking({"wanda": 84.5}, is_log=is_log)
    lacking = RankedPoint("ef01", "wild", 900.0, 10.0, 1790.0, None, False, seeds=2)
    near = RankedPoint("ef02", "near", 84.0, 70.0, 98.0, None, False, seeds=2)
    info = replace(whole, points=(*whole.points, lacking, near))
    assert shown_range(info) == pytest.approx(shown_range(whole)), "as the complete ones need it"
    drawn = draw_ranking(info)
    assert "A grey arrow: 2 configurations go on beyond the axis" in drawn.caption
    assert b"<!-- 900.00 -->" in drawn.svg, "its mean is written at the arrow"
    assert "A grey arrow" not in draw_ranking(whole).caption
    places = {point.text: point.places[0][0] for point in drawn.points if point.configuration in ("ef01", "abcd")}
    assert max(places.values()) == next(place for text, place in places.items() if text.startswith("perplexity 900"))
    alone = replace(whole, points=(lacking,))
    assert shown_range(alone)[1] > 1790, "where no configuration is complete all are shown"


def test_fresh_runs_that_lack_seeds_do_not_stretch_the_axis():
    whole = ranking({})
    wild = replace(whole.points[0], key="ef01", fresh=MeanEstimate(500.0, 0.0, 1000.0, 2), is_whole=False)
    assert shown_range(replace(whole, points=(wild, *whole.points))) == pytest.approx(shown_range(whole))


def test_names_stand_at_the_ends_of_lines_and_do_not_overlap():
    info = ranking({"dense": 23.0, "wanda": 82.0, "gblm": 82.05, "pruner_zero": 82.1, "magnitude": 140.0})
    with matplotlib.rc_context(SETTINGS):
        figure = new_figure(3.0)
        axes = figure.add_subplot()
        axes.set_xlim(shown_range(info))
        label_lines(axes, info)
        figure.draw_without_rendering()
        texts = [text for text in axes.texts if text.get_text()]
        boxes = [text.get_window_extent() for text in texts]
    assert [text.get_text() for text in texts] == [
        "← dense 23.00",
        "wanda 82.00",
        "gblm 82.05",
        "pruner_zero 82.10",
        "magnitude 140.00 →",
    ]
    assert not any(first.overlaps(second) for first, second in combinations(boxes, 2))


def test_fresh_seeds_stand_on_the_row_and_the_search_below():
    fresh = MeanEstimate(85.0, 84.0, 86.0, 3)
    drawn = draw_ranking(ranking({}, fresh=fresh))
    of_search, on_fresh = drawn.points[:2]
    assert on_fresh.text.startswith("on fresh seeds")
    assert on_fresh.places[0][1] != of_search.places[0][1]
    assert shown_range(ranking({}, fresh=fresh))[1] > 86

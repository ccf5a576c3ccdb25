"""The figure of two compared sides: one row a pair, percent for perplexities, and the seeds of a pair."""

from nmlab.reports.figures.differences import Differences, DrawnDifference, draw_differences
from nmlab.reports.values import Direction


def row(finding="better", **changed):
    values = {"value": -5.0, "low": -7.0, "high": -3.0, "by_seed": (-6.0, -4.0), "in_words": "B better"}
    own = {"label": "maskpro: alpha=0.9", "configuration": "b1", "run_ids": ("r1", "r2")}
    return DrawnDifference(finding=finding, **{**own, **values, **changed})


def drawn(*rows, hidden=0):
    return draw_differences(
        Differences("eval/perplexity", is_percent=True, rows=rows, hidden=hidden, direction=Direction.LOWER)
    )


def test_the_caption_says_what_marks_mean_and_what_was_found():
    figure = drawn(
        row(), row("not tested", low=None, high=None, by_seed=(), in_words="not tested: one seed each"), hidden=3
    )
    assert figure.title == "Differences of B from A in perplexity"
    said = (
        "Strokes: the difference of each shared seed",
        "No bar: no interval",
        "Rows: 1 B better, 1 not tested.",
        "In the table only: 3 further rows.",
    )
    for text in said:
        assert text in figure.caption


def test_a_point_has_its_difference_its_runs_and_the_configuration_of_b():
    (point,) = drawn(row()).points
    assert point.text == "maskpro: alpha=0.9: perplexity, B − A −5.0% [−7.0%, −3.0%], B better; 2 runs"
    assert (point.configuration, point.run_ids) == ("b1", ("r1", "r2"))
    assert drawn(row()).alternative == "maskpro: alpha=0.9: perplexity, B − A −5.0% [−7.0%, −3.0%], B better."


def test_nothing_to_draw_is_said():
    assert drawn().skipped == "nothing was compared in the leading metric"


def test_the_same_rows_give_the_same_bytes():
    assert drawn(row()).svg == drawn(row()).svg != drawn(row("not separable")).svg

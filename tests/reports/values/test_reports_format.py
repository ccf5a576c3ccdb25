"""Numbers as text."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmlab.reports.analysis.metrics import (
    chosen_on,
    difference_style,
    direction_of,
    metric_column,
    plain_name,
    style_of,
)
from nmlab.reports.values import (
    Cell,
    Column,
    Direction,
    Interval,
    Style,
    bracket_text,
    cell_text,
    number_text,
    plus_minus_text,
    title_text,
)


@pytest.mark.parametrize(
    ("value", "style", "text"),
    [
        (78.123, Style.FIXED2, "78.12"),
        (1234.5, Style.FIXED2, "1,234.5"),
        (43763.41, Style.FIXED2, "43,763"),
        (999.996, Style.FIXED2, "1,000.0"),
        (99999.7, Style.SIGNED2, "+100,000"),
        (1.5e9, Style.FIXED2, "1.50e9"),
        (-3.14159, Style.SIGNED2, "−3.14"),
        (3.14159, Style.SIGNED2, "+3.14"),
        (0.0, Style.SIGNED2, "0.00"),
        (0.004, Style.SIGNED2, "0.00"),
        (-0.004, Style.SIGNED2, "0.00"),
        (-0.004, Style.FIXED2, "0.00"),
        (-0.00004, Style.SIGNED4, "0.0000"),
        (-0.2, Style.INTEGER, "0"),
        (0.45678, Style.FIXED4, "0.4568"),
        (2000, Style.INTEGER, "2,000"),
        (20000, Style.GENERAL, "20000"),
        (0.00012345, Style.GENERAL, "0.0001234"),
        (0.97, Style.GENERAL, "0.97"),
        (43763.4, Style.GENERAL, "43,763"),
        (-1234.56, Style.GENERAL, "−1,235"),
        (22_034_567.0, Style.GENERAL, "2.203e7"),
        (-5.9744e-5, Style.GENERAL, "−5.974e−5"),
        (0.0, Style.GENERAL, "0"),
        (2.0**27, Style.MEBIBYTES, "128"),
        (0.0125, Style.MILLISECONDS, "12.5"),
        (61.26, Style.SECONDS, "61.3"),
        (0.0312, Style.SECONDS, "0.031"),
        (0.00000788, Style.SECONDS, "0.000"),
        (1974.2, Style.SECONDS, "1,974"),
        (0.0, Style.SECONDS, "0"),
        (733.7 * 2**20, Style.MEBIBYTES, "734"),
        (math.inf, Style.FIXED2, "∞"),
        (-math.inf, Style.INTEGER, "−∞"),
        (math.nan, Style.GENERAL, "nan"),
    ],
)
def test_number_text(value, style, text):
    assert number_text(value, style=style) == text


def test_cells():
    column = Column("x", "x", Style.FIXED2)
    assert cell_text(Cell(80.0, 75.03, 84.97, 3), column=column) == "80.0 ± 5.0"
    assert cell_text(Cell(80.0, n=1), column=column) == "80.00 (n = 1)"
    assert cell_text(Cell(80.0), column=column) == "80.00"
    assert cell_text(Cell(None), column=column) == "–"
    assert cell_text(Cell("alpha=1", shown="1"), column=column) == "1"
    assert cell_text(Cell(43763.41, 42951.0, 44575.82, 3), column=column) == "43,760 ± 810"
    assert cell_text(Cell(1.21e7, 0.87e7, 1.55e7, 3), column=column) == "1.21e7 ± 0.34e7"
    assert cell_text(Cell(1.0, math.nan, math.nan, 3), column=column) == "1.00 ± nan"
    assert cell_text(Cell(80.0, 80.0, 80.0, 3), column=column) == "80.00 ± 0.00"
    general = Column("x", "x", Style.GENERAL)
    assert cell_text(Cell(666239.9, 612952.8, 719527.0, 3), column=general) == "666,000 ± 53,000"
    assert cell_text(Cell(2.2e7, 2.1e7, 2.3e7, 3), column=general) == "2.20e7 ± 0.10e7"
    assert cell_text(Cell(3.99e-5, 3.99e-5, 3.99e-5, 3), column=general) == "3.99e−5 ± 0"
    assert cell_text(Cell(-0.000366, -0.009144, 0.008412, 3), column=general) == "−0.0004 ± 0.0088"
    seconds = Column("x", "x", Style.SECONDS)
    assert cell_text(Cell(22.31, 18.9, 25.72, 3), column=seconds) == "22.3 ± 3.4"
    bracket = Column("x", "x", Style.SIGNED2, interval=Interval.BRACKET)
    assert cell_text(Cell(-40.0, -42.48, 1.0, 3), column=bracket) == "−40 [−42, +1]"
    assert cell_text(Cell(-40.0, -42.0, -38.0, 3), column=Column("x", "x", Style.SIGNED2)) == "−40.0 ± 2.0"


@given(
    mean=st.floats(-1e5, 1e5),
    half=st.floats(1e-3, 1e5),
    style=st.sampled_from([Style.FIXED2, Style.FIXED4, Style.SIGNED2, Style.RATIO, Style.SECONDS, Style.GENERAL]),
)
def test_digits_follow_the_interval(mean, half, style):
    """Half an interval has two significant digits, the mean stops at the same place, and neither is off by more."""
    shown, own = plus_minus_text(mean, half=half, style=style).split(" ± ")
    place = 10.0 ** (math.floor(math.log10(float(f"{half:.1e}"))) - 1)
    place = max(place, 10.0 ** (math.floor(math.log10(float(f"{max(abs(mean), half):.4e}"))) - 5))
    for text, value in ((shown, mean), (own, half)):
        assert abs(number(text) - value) <= 0.5001 * place
        assert number(text) / place == pytest.approx(round(number(text) / place), abs=1e-6)
    assert decimals(shown) == decimals(own) == max(0, round(-math.log10(place)))
    ends = bracket_text(mean, low=mean - half, high=mean + half, style=style)
    assert ends.startswith(f"{shown} [")
    assert {decimals(end) for end in ends.partition("[")[2][:-1].split(", ")} == {decimals(shown)}


@given(value=st.floats(-1e6, 1e6), style=st.sampled_from([Style.FIXED2, Style.FIXED4, Style.SIGNED2, Style.RATIO]))
def test_a_number_without_an_interval_has_five_significant_digits_at_most(value, style):
    text = number_text(value, style=style)
    assert len(re.sub(r"[^0-9]", "", text.partition("e")[0]).strip("0")) <= 5
    most = {Style.RATIO: 3, Style.FIXED4: 4}.get(style, 2)
    assert decimals(text) <= most


def number(text):
    return float(text.replace("−", "-").replace(",", ""))


def decimals(text):
    return len(text.partition("e")[0].partition(".")[2])


@pytest.mark.parametrize(
    ("metric", "style", "direction"),
    [
        ("eval/word_perplexity", Style.FIXED2, Direction.LOWER),
        ("eval/arc/acc", Style.FIXED4, Direction.HIGHER),
        ("train/loss", Style.FIXED4, Direction.LOWER),
        ("memory/peak_bytes", Style.INTEGER, Direction.LOWER),
        ("eval/mystery", Style.GENERAL, Direction.NONE),
    ],
)
def test_metrics(metric, style, direction):
    assert (style_of(metric), direction_of(metric)) == (style, direction)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("eval/token_perplexity", "token perplexity"),
        ("eval/word-order/acc", "word-order acc"),
        ("time/sample_s", "sample seconds"),
        ("memory/state_bytes", "state bytes"),
        ("cost/tokens", "tokens"),
        ("train/residual", "train residual"),
    ],
)
def test_metrics_have_readable_names(metric, said):
    assert plain_name(metric) == said


def test_titles():
    assert title_text(metric_column("eval/token_perplexity")) == "token perplexity ↓"
    assert title_text(metric_column("eval/arc/acc")) == "arc acc ↑"
    assert difference_style("eval/perplexity") is Style.SIGNED2


@pytest.mark.parametrize(
    ("metric", "words"),
    [("eval/perplexity", "on the same evaluation text"), ("train/loss", "by the same train loss")],
)
def test_the_selection_metric_in_words(metric, words):
    assert chosen_on(metric) == words

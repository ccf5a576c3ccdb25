"""Two sides at the command line and in Python: how a side is written, and what is printed and written."""

import json

import pandas as pd
import pytest

import nmlab
from nmlab.platform.api.compared_sides import side_texts

FIRST = {("dense", None): (5.0,), ("maskpro", 0.9): (20.0, 22.0, 21.5), ("maskpro", 0.5): (30.0, 34.0, 31.0)}
SECOND = {("dense", None): (5.0,), ("maskpro", 0.9): (15.0, 16.6, 16.1), ("maskpro", 0.5): (30.0, 34.0, 31.0)}


@pytest.fixture(scope="module")
def launches(plan_of, written):
    """The names of two launches of one study that tried the same configurations."""
    return [written(plan_of(), tried) for tried in (FIRST, SECOND)]


def test_a_side_is_written_as_a_launch_is_everywhere(here, launches, uri):
    first, second = launches
    result = nmlab.load_result(first)
    best = result.best()
    assert side_texts([first, "quickstart"], tracking_uri=uri) == (f"quickstart@{first}", "quickstart")
    assert side_texts([f"{first}:maskpro,alpha=0.9", ":best"], tracking_uri=uri) == (
        f"quickstart@{first}:maskpro,alpha=0.9",
        f"quickstart@{first}:best",
    )
    pooled = f"quickstart@{first},quickstart@{second}"
    assert side_texts([f"{first},{second}", [first, second]], tracking_uri=uri) == (pooled, pooled)
    assert (
        side_texts([here / "results" / "quickstart" / first, result], tracking_uri=uri) == (f"quickstart@{first}",) * 2
    )
    assert side_texts([best], tracking_uri=uri) == (f"quickstart@{first}:{best.key}",)


def test_a_configuration_alone_is_that_of_the_newest_launch(here, launches, uri):
    best = nmlab.load_result(launches[1]).best()
    found = nmlab.compare(best.key, f"{launches[0]}:{best.key}", tracking_uri=uri)
    assert found.frame()["a"].tolist() == pytest.approx([47.7 / 3])
    assert found.verdict.startswith("A (")


def test_launches_are_compared_from_python(here, launches):
    found = nmlab.compare(*launches)
    frame = found.frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame["finding"].tolist() == ["B better", "equal", "equal"]
    assert frame["difference"].tolist() == pytest.approx([-15.8 / 3, 0.0, 0.0])
    assert found.verdict.startswith("Of 3 pairs, B is better in 1 (maskpro: alpha=0.9), 2 are equal")
    assert found.tables[0] == "differences"
    assert "<iframe" in found._repr_html_()
    assert str(found).startswith("# Comparison report")
    assert nmlab.compare(list(launches)).verdict == found.verdict, "one sequence holds all sides"


@pytest.mark.parametrize("ending", ["html", "md", "tex", "csv", "json", "svg", "png"])
def test_it_is_written_in_the_format_of_the_file(here, launches, tmp_path, ending):
    found = nmlab.compare(*launches)
    path = found.write(tmp_path / f"out.{ending}")
    if ending in ("svg", "png"):
        assert path.read_bytes()[:4] in (b"<?xm", b"\x89PNG")
    elif ending != "html":
        assert path.read_text(encoding="utf-8") == found.text(ending)


def test_what_cannot_be_written_is_refused_in_one_line(here, launches, tmp_path):
    found = nmlab.compare(*launches)
    with pytest.raises(nmlab.ReportError, match=r"unknown ending of a file '.cvs'; did you mean '.csv'\?"):
        found.write(tmp_path / "out.cvs")
    with pytest.raises(nmlab.ReportError, match="can't be written to"):
        found.write(tmp_path / "absent" / "out.csv")
    with pytest.raises(nmlab.ReportError, match="only a comparison of two sides has a figure"):
        nmlab.compare(launches[0]).write(tmp_path / "out.svg")


def test_the_command_line_prints_and_writes_the_same(here, command, launches, tmp_path):
    code, printed = command("compare", *launches, "--format", "json")
    assert (code, json.loads(printed.out)["verdict"]) == (0, nmlab.compare(*launches).verdict)
    code, printed = command("compare", *launches, "-o", tmp_path / "out.csv")
    assert (code, printed.out.splitlines()[1]) == (0, f"comparison: {tmp_path / 'out.csv'}")
    assert (tmp_path / "out.csv").read_text() == nmlab.compare(*launches).text("csv")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["{0}:maskpo", "{1}"], "unknown selection 'maskpo'; did you mean 'maskpro'?"),
        (["{0}", "{1}", "--at-equal", "tokens"], "nothing to compare at equal tokens"),
        (["{0}", "quikstart"], "did you mean 'quickstart'?"),
        (["{0}", "{1}", "--table", "diferences", "--format", "csv"], "did you mean 'differences'?"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(command, launches, arguments, line):
    code, printed = command("compare", *(each.format(*launches) for each in arguments))
    assert code == 2
    assert line in printed.err
    assert "Traceback" not in printed.err

"""Several launches of one study as one, in Python and at the command line; and a warm start that is refused."""

import json

import pytest

import nmlab
from nmlab.platform.api.sweep_result import SweepResult

FIRST = {("dense", None): (5.0,), ("maskpro", 0.9): (20.0, 22.0), ("maskpro", 0.5): (30.0, 34.0)}
SECOND = {("dense", None): (5.0,), ("maskpro", 0.5): (30.0, 34.0), ("maskpro", 0.25): (19.0, 21.0)}


@pytest.fixture(scope="module")
def launches(plan_of, written):
    """Two launches of one study, and one of another; the first two ran one configuration both."""
    plans = (plan_of(), plan_of(), plan_of("name=other"))
    return [written(plan, tried) for plan, tried in zip(plans, (FIRST, SECOND, FIRST), strict=True)]


def test_two_launches_are_one_result(here, launches):
    first, second, _ = launches
    result = nmlab.load_result([first, second])
    assert (result.launch, result.pooled, result.status) == (f"{first}, {second}", (first, second), "finished")
    assert result.counts == {"finished": 1 + 3 * 2}
    frame = result.configurations.set_index("alpha")
    assert frame.loc[[0.25, 0.9, 0.5], "mean"].tolist() == [20.0, 21.0, 32.0]
    assert frame.loc[0.5, "n"] == 2, "the trials of both count once"
    assert result.best().settings["alpha"] == 0.25
    assert len(result.trials) == 7


def test_a_pooled_result_writes_its_report(here, launches, tmp_path):
    report = nmlab.load_result(launches[:2]).report(tmp_path / "report")
    assert json.loads((report.html.parent / "report.json").read_text())["facts"]["launches pooled"] == ", ".join(
        launches[:2]
    )


def test_results_and_names_are_pooled_in_python(here, launches, tmp_path):
    first, second, _ = launches
    result = nmlab.load_result(first)
    assert isinstance(result, SweepResult)
    report = nmlab.report([result, second], output=tmp_path / "report")
    assert "maskpro" in " ".join(report.headline)


def test_the_command_line_pools_them_beside_the_report_of_one(here, command, launches):
    first, second, _ = launches
    code, printed = command("report", first, second, "--json")
    assert code == 0, printed.err
    assert json.loads(printed.out)["html"].endswith("results/quickstart/pooled-report/report.html")
    page = (here / "results" / "quickstart" / "pooled-report" / "report.md").read_text()
    assert f"{first}, {second}" in page
    assert "each trial counted once" in page


@pytest.mark.parametrize(
    ("names", "line"),
    [
        ((0, 2), "launches of quickstart and other: a report pools launches of one study; nmlab compare sets several"),
        ((0, 0), "is named twice; expected different launches"),
    ],
)
def test_what_is_no_pool_is_refused_in_one_line(command, launches, names, line):
    code, printed = command("report", *(launches[place] for place in names))
    assert (code, printed.err.count("\n")) == (2, 1)
    assert line in printed.err


def test_a_launch_of_several_is_named_by_itself(command, launches):
    code, printed = command("report", *launches[:2], "--launch", launches[0])
    assert (code, printed.err.count("\n")) == (2, 1)
    assert f"--launch {launches[0]}: expected one STUDY" in printed.err


def test_other_values_than_launches_are_not_pooled(here, launches):
    key = nmlab.load_result(launches[0]).best().key
    with pytest.raises(ValueError, match="several results are pooled if they are launches of one study in one store"):
        nmlab.load_result([launches[0], key])
    with pytest.raises(ValueError, match="several results are pooled"):
        nmlab.load_result([launches[0], launches[2]])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--warm-start", "quickstrat"), "no launch 'quickstrat' in 'results'; did you mean 'quickstart'?"),
        (
            ("--warm-start", "quickstart", "--set", "search={algorithm: random, samples: 3}"),
            "--warm-start: search.algorithm random: it does not choose by outcomes",
        ),
        (("--warm-start", "quickstart"), "--warm-start: nothing of it is of use here"),
    ],
)
@pytest.mark.parametrize("verb", ["plan", "sweep"])
def test_a_warm_start_of_no_use_is_refused_in_one_line(here, command, launches, verb, arguments, line):
    """These launches were written without a journal, so nothing of them can enter."""
    before = set((here / "results" / "quickstart").iterdir())
    code, printed = command(verb, "quickstart", *arguments)
    assert (code, printed.err.count("\n")) == (2, 1)
    assert line in printed.err
    assert set((here / "results" / "quickstart").iterdir()) == before

"""Two sides compared, from a store to every format: verdict, tests, what differs, refusals."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from nmlab.reports.compare import FORMATS, compare
from nmlab.reports.read.errors import ReportError

METRIC = "eval/perplexity"
VALUES = {"0.9": (80.0, 82.0, 81.0), "0.99": (70.0, 72.0, 72.0)}
LATER = {"0.9": (80.0, 82.0, 81.0), "0.99": (66.0, 67.5, 67.0), "0.5": (90.0, 91.0, 95.0)}


@pytest.fixture(scope="module")
def uri(store_writer, tmp_path_factory, trial):
    """Two launches of one study of which the later has another seed range for one alpha, and a study of SUSI."""
    writer = store_writer(tmp_path_factory.mktemp("two-sides"))

    def launch(name, values, *, study="pair", method="maskpro", **options):
        trials = [trial("dense", 0, 20.0, role="baseline"), trial("wanda", 0, 95.0, role="baseline")]
        trials += [
            trial(method, seed, value, 99.0, {"alpha": alpha}, residual=[0.0])
            for alpha, own in values.items()
            for seed, value in enumerate(own)
        ]
        writer.launch(study, trials, name=name, **options)

    launch("pair-1", VALUES)
    launch("pair-2", LATER, tags={"nmlab.git_commit": "f" * 40, "nmlab.versions": '{"torch": "2.14.0"}'},
           params={"budget.steps": "200"})  # fmt: skip
    launch("susi-1", {"0.3": (50.0, 51.0, 53.0)}, study="susi", method="susi")
    bad = [trial("maskpro", seed, None, status="diverged", reason="loss became nan") for seed in range(2)]
    writer.launch("lost", [*bad, trial("wanda", 0, 95.0, role="baseline")], name="lost-1")
    return writer.uri


def compared(uri, *sides, **options):
    return compare(sides, tracking_uri=uri, **options)


@pytest.fixture(scope="module")
def launches(uri):
    """The launch of yesterday against that of today."""
    return compared(uri, "pair@pair-1", "pair@pair-2")


@pytest.fixture(scope="module")
def methods(uri):
    return compared(uri, "pair@pair-1:maskpro", "susi:susi")


def column(found, key, table=""):
    return [cell.value for cell in found.table(table).column(key)]


def test_launches_of_one_study_are_compared_configuration_by_configuration(launches):
    assert column(launches, "method") == ["maskpro", "maskpro", "dense", "wanda"]
    assert column(launches, "setting") == ["alpha=0.99", "alpha=0.9", "", ""]
    assert column(launches, "a") == pytest.approx([214 / 3, 81.0, 20.0, 95.0])
    assert column(launches, "b") == pytest.approx([200.5 / 3, 81.0, 20.0, 95.0])
    assert column(launches, "difference") == pytest.approx([-4.5, 0.0, 0.0, 0.0])
    assert column(launches, "finding")[1:] == ["equal"] * 3


def test_the_numbers_by_hand(launches):
    """The ratios of alpha 0.99 are 66/70, 67.5/72 and 67/72; t of their logarithms is -17.13 with 2 degrees."""
    first = launches.table().rows[0]
    cells = {own.key: cell for own, cell in zip(launches.table().columns, first.cells, strict=True)}
    assert cells["ratio"].value == pytest.approx(((66 / 70) * (67.5 / 72) * (67 / 72)) ** (1 / 3), rel=1e-9)
    assert (cells["ratio"].low, cells["ratio"].high) == pytest.approx((0.92175, 0.95241), abs=1e-5)
    assert cells["p"].value == pytest.approx(0.00339, abs=1e-5)
    assert cells["test"].value == "paired t-test over 3 shared seeds"
    assert cells["finding"].value == "B better"
    assert (str(cells["a"].mark), str(cells["b"].mark)) == ("", "best")


def test_only_what_a_test_finds_better_is_bold(launches):
    both = zip(*(launches.table().column(key) for key in ("a", "b")), strict=True)
    marks = [(str(own.mark), str(other.mark)) for own, other in both]
    assert marks == [("", "best"), ("", ""), ("", ""), ("", "")]
    tables = launches.text("md").partition("## A and B side by side")[2]
    assert tables.count("**") == 2


def test_the_verdict_counts_the_pairs_and_names_what_differs(launches):
    assert launches.verdict == (
        "Of 4 pairs, B is better in 1 (maskpro: alpha=0.99), 3 are equal (tests at 5%, corrected for their number)."
    )
    assert launches.document.screen.verdict == launches.verdict


def test_the_title_is_short(launches, methods):
    assert launches.document.heading == "pair: 1 against 2"
    assert methods.document.heading == "pair:maskpro against susi:susi"


def test_nothing_is_dropped_in_silence(launches):
    assert column(launches, "setting", "not_compared") == ["alpha=0.5"]
    assert column(launches, "side", "not_compared") == ["B"]
    assert column(launches, "reason", "not_compared") == ["no counterpart"]
    assert "Listed as not compared: 1 configuration." in launches.document.warnings


def test_what_the_sides_differ_in_besides_their_results(launches):
    rows = {(row.cells[0].value, row.cells[1].value): tuple(cell.value for cell in row.cells[2:])
            for row in launches.table("settings_apart").rows}  # fmt: skip
    assert rows["code", "commit"] == ("0123456789abcdef0123456789abcdef01234567", "f" * 40)
    assert rows["code", "torch"] == ("2.13.0", "2.14.0")
    assert rows["study", "budget.steps"] == ("not set", "200")
    assert ("compared runs", "alpha") not in rows


def test_methods_are_compared_by_their_best(methods):
    assert column(methods, "a_is") == ["maskpro: alpha=0.99 (best of 2)"]
    assert methods.verdict.startswith("B (susi:susi) is better than A (pair:maskpro): perplexity 51.3 against 71.3, B ")
    evidence = r"95% interval \d+\.\d% to \d+\.\d%; paired t-test over 3 shared seeds, p "
    assert re.search(rf"28\.1% lower \({evidence}", methods.verdict)
    assert any("best of several configurations" in text for text in methods.document.warnings)


def test_a_launch_against_itself_is_equal_everywhere(uri):
    found = compared(uri, "pair@pair-1", "pair@pair-1")
    assert found.verdict == "A and B are equal in all 4 pairs."
    assert tiles(found)[0][1:] == ("none", "the same values in every pair")
    assert set(column(found, "difference")) == {0.0}
    assert set(column(found, "finding")) == {"equal"}
    assert "A and B are the same runs." in found.document.warnings
    assert "settings_apart" not in found.tables


def test_swapping_the_sides_flips_every_sign(uri, launches):
    swapped = compared(uri, "pair@pair-2", "pair@pair-1")
    there, back = (
        dict(zip(column(found, "configuration_a"), column(found, "difference"), strict=True))
        for found in (launches, swapped)
    )
    assert there == pytest.approx({key: -value for key, value in back.items()})
    assert sorted(map(str, column(swapped, "finding"))) == ["A better", "equal", "equal", "equal"]
    assert "A is better in 1" in swapped.verdict


def test_rows_and_metrics_of_choice(uri):
    found = compared(uri, "pair@pair-1", "pair@pair-2", rows=["role"], metrics=[METRIC, "cost/seconds"])
    assert column(found, "role") == ["search", "baseline"] * 2
    assert column(found, "metric") == ["perplexity"] * 2 + ["seconds"] * 2
    with pytest.raises(ReportError, match="unknown metric 'eval/perplexty'; did you mean 'eval/perplexity'"):
        compared(uri, "pair", "susi", metrics=["eval/perplexty"])
    with pytest.raises(ReportError, match="unknown row or column 'rol'; did you mean 'role'"):
        compared(uri, "pair", "susi", rows=["rol"])


def test_pooled_launches_are_one_side(uri):
    found = compared(uri, "pair@pair-1,pair@pair-2", "susi", rows=["role"])
    assert dict(found.document.facts) == {"A": "pair-1, pair-2", "B": "susi-1"}
    with pytest.raises(ReportError, match="launches of pair and susi can't be pooled"):
        compared(uri, "pair@pair-1,susi", "susi")


@pytest.mark.parametrize(
    ("sides", "line"),
    [
        (("pair:maskpo", "susi"), "unknown selection 'maskpo'; did you mean 'maskpro'? expected a method"),
        (("pair:alpha=0.77", "susi"), "of pair fits 'alpha=0.77': alpha is 0.99, 0.9, 0.5, never 0.77"),
        (("pair:alhpa=0.9", "susi"), "unknown setting 'alhpa'; did you mean 'alpha'?"),
        (("lost:maskpro", "susi:susi"),
         "nothing to compare: maskpro of A: 0 of 2 runs finished (2 diverged); susi of B: no counterpart"),
    ],
)  # fmt: skip
def test_what_selects_nothing_or_has_no_value_is_refused_in_one_line(uri, sides, line):
    with pytest.raises(ReportError, match=re.escape(line)):
        compared(uri, *sides)


def test_an_equal_budget_without_curves_is_refused(uri):
    with pytest.raises(ReportError, match=r"at equal tokens: maskpro .*recorded no curve with its tokens"):
        compared(uri, "pair:maskpro", "susi:susi", at_equal="tokens")
    with pytest.raises(ReportError, match="unknown budget 'token'; did you mean 'tokens'"):
        compared(uri, "pair", "susi", at_equal="token")


@pytest.mark.parametrize(
    ("params", "tags", "message"),
    [
        ({"data.evaluation.source": "other"}, {}, "data.evaluation.source differs: builtin:python-docs"),
        ({"data.evaluation.sequence_length": "64"}, {}, "data.evaluation.sequence_length differs: 64"),
        ({"model.dtype": "bfloat16"}, {}, "model.dtype differs: bfloat16"),
        ({}, {"nmlab.data_digest": "sha256:zz"}, "the digest of the data differs: sha256:bb22"),
        ({}, {"nmlab.model_digest": "sha256:zz"}, "the digest of the model differs: sha256:aa11"),
    ],
)
def test_what_was_not_evaluated_alike_is_refused_with_all_that_differs(
    store_writer, tmp_path, trial, params, tags, message
):
    writer = store_writer(tmp_path)
    writer.launch("one", [trial("wanda", 0, 60.0)], name="one-1")
    writer.launch("two", [trial("wanda", 0, 61.0, params=params, tags=tags)], name="two-1")
    with pytest.raises(ReportError, match=rf"A and B were not evaluated alike: {message}.*run .* of B.*--mixed"):
        compared(writer.uri, "one", "two")
    shown = compared(writer.uri, "one", "two", mixed=True)
    for form in ("md", "html", "tex", "json"):
        assert "Not evaluated alike" in shown.text(form)


def test_versions_and_texts_of_calibration_are_noted_and_compared(store_writer, tmp_path, trial):
    writer = store_writer(tmp_path)
    other = {"nmlab.versions": '{"torch": "2.9.0"}', "nmlab.data_digest": "sha256:zz"}
    writer.launch("one", [trial("wanda", 0, 60.0)], name="one-1")
    calibrated = {"data.calibration.samples": "32"}
    writer.launch("two", [trial("wanda", 0, 61.0, params=calibrated, tags=other)], name="two-1", params=calibrated)
    found = compared(writer.uri, "one", "two")
    noted = [text for text in found.document.warnings if text.startswith("Numbers may depend on it")]
    assert [text.split(": ")[1].split(" differs")[0] for text in noted] == [
        "the digest of the data",
        "the version of torch",
    ]
    assert found.table("settings_apart").column("name")


def test_sides_that_report_other_metrics_are_refused_unless_one_is_named(store_writer, tmp_path, trial):
    writer = store_writer(tmp_path)
    writer.launch("one", [trial("wanda", 0, 60.0)], name="one-1")
    words = {"search.metric": "eval/word_perplexity"}
    writer.launch("two", [trial("wanda", 0, 60.0)], name="two-1", params=words)
    with pytest.raises(ReportError, match="A is reported by eval/perplexity and B reported by eval/word_perplexity"):
        compared(writer.uri, "one", "two")
    assert (
        compared(writer.uri, "one", "two", metrics=[METRIC]).verdict
        == "B (two) and A (one) are equal: perplexity 60.00."
    )


def test_every_format_holds_the_same_values(launches):
    table, frame = launches.table(), launches.frame()
    read = list(csv.DictReader(io.StringIO(launches.text("csv"))))
    own = json.loads(launches.text("json", table="differences"))
    whole = json.loads(launches.text("json"))
    assert whole["verdict"] == launches.verdict
    assert [each["key"] for each in whole["tables"]] == list(launches.tables)
    for place, line in enumerate(read):
        for key, cell in own["rows"][place]["cells"].items():
            assert line[key] == ("" if cell["value"] is None else str(cell["value"]))
            value = frame[key][place]
            assert cell["value"] == (None if value != value else value)
        for form in ("html", "md", "tex"):
            text = launches.text(form).replace("&nbsp;", " ").replace("$-$", "−")
            shown = own["rows"][place]["cells"]["difference"]["shown"]
            assert shown in text, form
    assert len(frame) == len(table.rows)
    assert "Report written" not in launches.text("md")
    assert set(FORMATS) == {"html", "md", "tex", "csv", "json"}
    with pytest.raises(ReportError, match="unknown table 'cost'; did you mean 'costs'"):
        launches.frame("cost")


def test_the_frame_has_typed_columns(launches):
    kinds = launches.frame().dtypes.astype(str).to_dict()
    assert {kinds[name] for name in ("a", "a_low", "difference", "ratio", "p")} == {"float64"}
    assert (kinds["a_n"], kinds["method"], kinds["run_ids"]) == ("Int64", "string", "string")
    assert launches.frame("not_compared")["reason"].tolist() == ["no counterpart"]


def test_the_figure_says_in_words_what_it_shows(launches):
    (figure,) = launches.document.figures
    page = launches.text("html")
    assert "Rows: 1 B better, 3 equal." in figure.caption
    said = "Differences of B from A in perplexity: Rows: 1 B better, 3 equal. maskpro: alpha=0.99: perplexity, B − A "
    assert f'role="group" aria-label="{said}−6.3% [−7.8%, −4.8%], B better; ' in page
    point, *_ = figure.points
    assert point.text == "maskpro: alpha=0.99: perplexity, B − A −6.3% [−7.8%, −4.8%], B better; 6 runs"
    assert (len(figure.points), len(point.run_ids)) == (4, 6)
    assert page.count(f'data-configuration="{point.configuration}"') == 2  # the point and its row
    assert figure.svg.startswith(b"<?xml")


def tiles(found):
    cells = [row.cells for row in found.document.screen.tiles.rows]
    return [(str(what.value), str(value.shown or value.value), str(detail.value)) for what, value, detail in cells]


def test_the_first_screen_of_one_pair(methods):
    screen, (row,) = methods.document.screen, methods.table().rows
    (what, difference, means), (_, confidence, test), (_, cost, seconds), (_, pairs, runs) = tiles(methods)
    assert (what, difference, means) == (
        "B against A: perplexity", "−28.1% [−31.6%, −24.3%]", "B 51.3 against A 71.3")  # fmt: skip
    assert (confidence, test) == ("B better, p = 0.001", "paired t-test over 3 shared seeds")
    assert (cost, seconds[:33]) == ("× 1.000", "one run: B 1.10 s, A 1.10 s; all ")
    assert (pairs, runs) == ("1 pair compared", "6 runs; nothing was left out")
    assert screen.tiles.rows[0].cells[1].value == methods.table().column("ratio")[0].value
    assert set(screen.tiles.rows[0].run_ids) == set(row.run_ids)
    assert screen.is_decided
    assert [line[:35] for line in screen.findings] == [
        "A: maskpro: alpha=0.99 (best of 2),", "B: susi: alpha=0.3, configuration 1"]  # fmt: skip
    assert "best of several configurations" in screen.trust[0]


def test_the_first_screen_of_many_pairs(launches):
    (what, difference, which), (_, confidence, tests), (_, cost, _), (_, pairs, runs) = tiles(launches)
    assert (what, difference) == ("Largest difference of B from A: perplexity", "−6.3% [−7.8%, −4.8%]")
    assert which == "maskpro: alpha=0.99; B 66.8 against A 71.3"
    assert (confidence, tests) == ("1 of 4", "1 B better, 3 equal; by paired t-test at 5%, corrected")
    assert cost == f"× {11.9 / 8.6:.3f}"
    assert (pairs, runs) == (
        "4 pairs compared",
        "16 runs; not compared: 1 configuration with 3 runs (B: no counterpart)",
    )
    assert launches.document.screen.trust[:3] == (
        "Unequal budgets (A against B): budget.steps not set against 200. "
        "--at-equal tokens compares at an equal one, from recorded curves.",
        "A and B ran other code or versions: commit, torch.",
        "Listed as not compared: 1 configuration.",
    )


def test_pages_begin_with_the_first_screen(launches, methods):
    for found in (launches, methods):
        screen, page, text = found.document.screen, found.text("html"), found.text("md")
        assert page.index('<p class="verdict">') < page.index("figure-differences") < page.index("table-differences")
        assert page.count('id="figure-differences"') == 1
        assert 'href="#figures"' not in page, "the only figure is on the first screen"
        assert (
            text.index(f"**{screen.verdict[:40]}") < text.index("## Before you trust this") < text.index("## A and B")
        )
        assert "figures/" not in text
        assert len(screen.trust) <= 5


def test_the_gravest_caveats_are_on_the_first_screen(store_writer, tmp_path, trial):
    writer = store_writer(tmp_path)
    texts = {"data.evaluation.source": "other"}
    broken = trial("susi", 5, None, status="diverged", reason="loss became nan")
    for study, seeds, params in (("one", (0, 1, 2), {}), ("two", (3, 4, 6), texts)):
        rows = [trial("maskpro", seed, 60.0 + seed, params=params, residual=[0.0]) for seed in seeds]
        writer.launch(study, [*rows, broken], name=f"{study}-1", tags={"nmlab.status": "stopped"})
    screen = compared(writer.uri, "one:maskpro", "two:maskpro", mixed=True).document.screen
    assert screen.trust[:3] == (
        "Not evaluated alike: data.evaluation.source.",
        "Launch one-1 of A is stopped, not finished.",
        "Launch two-1 of B is stopped, not finished.",
    )
    assert "1 pair is not compared seed by seed: fewer than two seeds in common." in screen.trust


def test_a_short_table_on_pages_and_a_whole_one_in_files(methods):
    keys = [column.key for column in methods.page.tables[0].columns]
    assert keys == ["method", "finding", "a", "b", "difference", "ratio", "p", "detectable"]
    assert {"test", "a_is", "b_is", "configuration_a", "configuration_b"} < set(methods.frame().columns)


def test_a_cut_table_says_where_its_other_rows_are(launches):
    table = launches.table()
    many = replace(launches, undrawn=replace(launches.undrawn, tables=(replace(table, rows=table.rows * 101),)))
    text = many.text("md")
    assert "4 further rows are printed by nmlab compare with --format csv --table differences." in text
    assert "tables/" not in text
    assert len(many.text("csv").splitlines()) == 405


def test_numbers_lead_to_the_runs_of_their_own_study(uri, methods):
    links = methods.document.links
    ids = {cell.run_ids[0] for cell in methods.table().column("b")}
    assert {links.run(run_id).split("/")[-3] for run_id in ids} != {links.experiment_id}

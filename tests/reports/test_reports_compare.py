"""Several studies in one table: chosen rows and columns, and refusal of runs not evaluated alike."""

import csv
import io
import json

import pytest

from nmlab.reports.compare import FORMATS, compare
from nmlab.reports.read.errors import ReportError

METRIC = "eval/perplexity"
BY_STUDY = {"columns": ["study", "pattern"]}
"""Two studies in one table; without columns they are two sides (test_two_sides.py)."""


@pytest.fixture(scope="module")
def studies(writer, store, trial):
    """Two studies of one model: MaskPro by alpha at two patterns, and SUSI."""
    first = [trial("dense", 0, 20.0, role="baseline"), trial("wanda", 0, 90.0, role="baseline")]
    for pattern, offset in (("2:4", 0.0), ("4:8", -20.0)):
        for alpha, value in (("0.9", 80.0), ("0.99", 70.0)):
            first += [
                trial("maskpro", seed, value + offset + seed, 99.0, {"alpha": alpha}, residual=[0.0], pattern=pattern)
                for seed in range(3)
            ]
    second = [trial("susi", seed, 50.0 + seed, 99.0, residual=[0.0]) for seed in range(3)]
    writer.launch("cross-first", first, name="cross-first-1")
    writer.launch("cross-second", second, name="cross-second-1")
    return store.uri


def table(uri, *names, **options):
    return compare(names, tracking_uri=uri, **options).document.tables[0]


def values(found, key):
    return [None if cell.value is None else round(float(cell.value), 6) for cell in found.column(key)]


def test_methods_by_study_and_pattern(studies):
    found = table(studies, "cross-first", "cross-second", **BY_STUDY)
    assert [column.title for column in found.columns] == ["method", "cross-first, 2:4", "cross-first, 4:8",
                                                          "cross-second, 2:4"]  # fmt: skip
    assert [cell.value for cell in found.column("method")] == ["dense", "maskpro", "susi", "wanda"]
    assert values(found, f"cross-first/2:4:{METRIC}") == [20.0, 71.0, None, 90.0]
    assert values(found, f"cross-first/4:8:{METRIC}") == [20.0, 51.0, None, None]
    assert values(found, f"cross-second/2:4:{METRIC}") == [None, None, 51.0, None]
    assert "up to 2 configurations" in found.notes[0]


def test_the_reader_chooses_rows_columns_and_metrics(studies):
    found = table(
        studies, "cross-first", rows=["method", "alpha"], columns=["pattern"], metrics=[METRIC, "cost/seconds"]
    )
    assert [(a.value, b.value) for a, b in zip(found.column("method"), found.column("alpha"), strict=True)] == [
        ("dense", "–"), ("maskpro", "0.9"), ("maskpro", "0.99"), ("wanda", "–")]  # fmt: skip
    assert values(found, f"2:4:{METRIC}") == [20.0, 81.0, 71.0, 90.0]
    assert values(found, "4:8:cost/seconds") == [1.0, 1.1, 1.1, None]
    assert not any("chosen" in note for note in found.notes)


def test_best_and_second_are_marked_in_each_column_and_dense_competes_nowhere(studies):
    found = table(studies, "cross-first", rows=["method", "alpha"], columns=["pattern"])
    assert [str(cell.mark) for cell in found.column(f"2:4:{METRIC}")] == ["", "second", "best", ""]


def test_every_number_leads_to_its_runs_in_its_own_study(studies, store):
    found = compare(["cross-first", "cross-second"], tracking_uri=studies, **BY_STUDY)
    links = found.document.links
    ids = {name: store.experiment_id(name) for name in ("cross-first", "cross-second")}
    cells = found.document.tables[0].column(f"cross-second/2:4:{METRIC}")
    run_id = next(cell for cell in cells if cell.run_ids).run_ids[0]
    assert links.run(run_id).endswith(f"#/experiments/{ids['cross-second']}/runs/{run_id}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": ["metod"]}, "unknown row or column 'metod'; did you mean 'method'"),
        ({"rows": ["alpha"], "columns": ["alpha"]}, "'alpha' is asked for as row and as column"),
        ({"metrics": ["eval/perplexty"]}, "unknown metric 'eval/perplexty'; did you mean 'eval/perplexity'"),
    ],
)
def test_bad_choices_name_the_nearest(studies, options, message):
    with pytest.raises(ReportError, match=message):
        table(studies, "cross-first", **options)


def test_unknown_studies_and_launches_are_named(studies):
    with pytest.raises(ReportError, match=r"unknown study 'cross-frist'.*'cross-first'"):
        table(studies, "cross-frist")
    with pytest.raises(ReportError, match="unknown launch 'x' of study 'cross-first'"):
        table(studies, "cross-first@x")
    with pytest.raises(ReportError, match="named twice"):
        table(studies, "cross-first", "cross-first", **BY_STUDY)
    with pytest.raises(ReportError, match="at least one study"):
        table(studies)
    with pytest.raises(ReportError, match="an equal budget is of two sides"):
        table(studies, "cross-first", at_equal="tokens")


def test_three_studies_are_one_table_with_methods_by_study_and_pattern(studies):
    found = table(studies, "cross-first", "cross-second", "cross-first@cross-first-1")
    assert found.columns[0].title == "method"
    assert {column.title.split(", ")[0] for column in found.columns[1:]} == {
        "cross-first", "cross-second", "cross-first@cross-first-1"}  # fmt: skip


def test_a_part_of_a_study_is_one_side_of_a_table(studies):
    found = table(studies, "cross-first:maskpro,alpha=0.99", columns=["pattern"])
    assert [cell.value for cell in found.column("method")] == ["maskpro"]
    assert values(found, f"2:4:{METRIC}") == [71.0]


@pytest.mark.parametrize(
    ("params", "tags", "message"),
    [
        ({"data.evaluation.source": "other"}, {}, "data.evaluation.source differs: builtin:python-docs"),
        ({"data.evaluation.windowing": "rolling"}, {}, "data.evaluation.windowing differs: none"),
        ({"data.evaluation.perplexity": "word"}, {}, "data.evaluation.perplexity differs: none"),
        ({}, {"nmlab.data_digest": "sha256:zz"}, "the digest of the data differs: sha256:bb22"),
        ({}, {"nmlab.model_digest": "sha256:zz"}, "the digest of the model differs: sha256:aa11"),
        ({}, {"nmlab.versions": '{"torch": "2.9.0"}'}, "the version of torch differs: 2.13.0"),
    ],
)
def test_what_was_not_evaluated_alike_is_refused_unless_asked(studies, writer, trial, params, tags, message):
    name = f"cross-other-{len(message)}"
    writer.launch(name, [trial("wanda", 0, 60.0, params=params, tags=tags)], name=f"{name}-1")
    with pytest.raises(ReportError, match=f"do not belong in one table: {message}.*of {name}.*--mixed"):
        table(studies, "cross-second", name, columns=["study"])
    shown = compare(["cross-second", name], tracking_uri=studies, mixed=True, columns=["study"])
    assert any(message in warning for warning in shown.document.warnings)
    for form in ("md", "html", "tex", "json"):
        assert "Not evaluated alike" in shown.text(form)
    if params:  # shown by a column
        assert compare(["cross-second", name], tracking_uri=studies, columns=list(params)).document.warnings == ()


def test_every_format_holds_the_same_numbers(studies):
    found = compare(["cross-first", "cross-second"], tracking_uri=studies, **BY_STUDY)
    texts = {form: found.text(form) for form in FORMATS}
    for form in ("html", "md", "tex"):
        for number in ("71.0 ", "51.0 ", "90.00 (n = 1)"):
            assert number in texts[form].replace("&nbsp;", " "), (form, number)
    read = list(csv.DictReader(io.StringIO(texts["csv"])))
    own = json.loads(texts["json"])
    for line, row in zip(read, own["rows"], strict=True):
        for key, cell in row["cells"].items():
            assert line[key] == ("" if cell["value"] is None else str(cell["value"]))
    assert "Report written" not in texts["md"]
    assert texts["md"] == compare(["cross-first", "cross-second"], tracking_uri=studies, **BY_STUDY).text("md")
    with pytest.raises(ReportError, match="unknown format 'pdf'"):
        found.text("pdf")

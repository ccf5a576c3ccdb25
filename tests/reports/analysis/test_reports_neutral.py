"""A study with neutral texts: reports say what masks reach on them beside in-domain text, and select by neither."""

import json
from dataclasses import replace

import pytest

from nmlab.reports.analysis.analysis import Analysis, analyse
from nmlab.reports.analysis.metrics import chosen_on, neutral_metrics, selection_metric
from nmlab.reports.analysis.neutral import text_figures
from nmlab.reports.compare import compare
from nmlab.reports.narrative.caveats import caveats_of
from nmlab.reports.narrative.first_screen import first_screen_of
from nmlab.reports.narrative.headline import headline_of
from nmlab.reports.read.collect import collect
from nmlab.reports.read.objective import Objective
from nmlab.reports.render.json import json_text
from nmlab.reports.report import document_of
from nmlab.reports.tables.comparison import comparison_tables

NEWS, LAW = "neutral/news/perplexity", "neutral/law/perplexity"
PARAMS = {"data.neutral.news.source": "news.txt", "data.neutral.law.source": "law.txt"}
MEANS = {"0.9": (80.0, 96.0), "0.95": (84.0, 90.0)}
"""In-domain and on news, by alpha: the first is selected, and the second is better on news."""
WOBBLE = (-0.6, 0.1, 0.5)


def learned(trial, **given):
    return [
        trial(
            "maskpro",
            seed,
            own + WOBBLE[seed],
            118.0,
            {"alpha": alpha, "initial_mask": "wanda"},
            residual=[0.0, -0.1],
            neutral={"news": (news + WOBBLE[seed], 98.0), "law": (53.0 + WOBBLE[seed], 49.0)},
            **given,
        )
        for alpha, (own, news) in MEANS.items()
        for seed in range(3)
    ]


def rules(trial):
    return [
        trial("dense", 0, 40.0, role="baseline", neutral={"news": (16.0, None), "law": (20.0, None)}),
        trial("wanda", 0, 118.0, role="baseline", neutral={"news": (98.0, None), "law": (49.0, None)}),
        trial("magnitude", 0, 140.0, role="baseline", neutral={"news": (120.0, None), "law": (70.0, None)}),
    ]


@pytest.fixture(scope="module")
def found(writer, store, trial) -> Analysis:
    writer.launch("neutral", [*rules(trial), *learned(trial)], name="neutral-1", params=PARAMS)
    return analyse(store, runs=collect(store, study="neutral"))


def tables(found):
    return {table.key: table for table in comparison_tables(found)}


def test_the_summary_has_a_column_for_each_text_with_the_start(found):
    summary = tables(found)["summary"]
    keys = [column.key for column in summary.columns]
    assert [key for key in keys if "perplexity" in key] == ["eval/perplexity", LAW, NEWS]
    rows = {row.cells[0].value: dict(zip(keys, row.cells, strict=True)) for row in summary.rows}
    assert rows["dense (no mask)"][NEWS].value == 16.0
    assert rows["wanda"][NEWS].value == pytest.approx(98.0)
    assert rows["maskpro, its initial mask (wanda)"][NEWS].value == pytest.approx(98.0)
    assert rows["maskpro, best of 2"][NEWS].value == pytest.approx(96.0)
    assert str(rows["maskpro, best of 2"][NEWS].mark) == "best"
    assert str(rows["maskpro, best of 2"][LAW].mark) == "second", "wanda is better there, and a test says so"
    assert str(rows["wanda"][LAW].mark) == "best"


def test_nothing_is_selected_by_a_neutral_text(found):
    (winner,) = found.winners.values()
    assert winner.best.settings["alpha"] == 0.9
    assert [item.settings["alpha"] for item in found.configurations if not item.is_baseline] == [0.9, 0.95]
    objective = found.runs.objective
    assert selection_metric(NEWS, objective=objective) == "eval/perplexity"
    assert chosen_on(NEWS, objective=objective) == "by perplexity"
    every = tables(found)["configurations"]
    marks = {row.cells[-1].value: str(cell.mark) for row, cell in zip(every.rows, every.column(NEWS), strict=True)}
    other = next(item for item in found.configurations if item.settings.get("alpha") == 0.95)
    assert marks[other.key] == "best", "it is better than the selected one by a test, which selects nothing"
    assert marks[winner.best.key] != "best"


def test_the_first_screen_says_both_beside_the_start_and_the_dense_model(found):
    screen = first_screen_of(found)
    assert screen.verdict.startswith("alpha makes a difference")
    assert "The best maskpro (perplexity 80.0 ± 1.4, 3 seeds) beats" in screen.verdict
    assert screen.verdict.endswith(
        " On neutral text: law 53.00 (its start 49.00, dense 20.00), news 96.00 (its start 98.00, dense 16.00). "
        "This took 9 runs and 10.2 s."
    )
    line = next(text for text in screen.findings if text.startswith("In-domain"))
    assert line == (
        "In-domain perplexity 80.0 ± 1.4 (its start 118.00, wanda 118.00, dense 40.00, selected on); on neutral text: "
        "law 53.0 ± 1.4 (its start 49.00, wanda 49.00, dense 20.00), "
        "news 96.0 ± 1.4 (its start 98.00, wanda 98.00, dense 16.00)."
    )
    assert any("one text" in text and "and 2 neutral ones" in text for text in screen.trust)
    sentence = next(
        text for text in headline_of(found.runs, configurations=found.configurations) if "On neutral text" in text
    )
    assert sentence == (
        "On neutral text it reaches perplexity: law 53.0 ± 1.4, 4.00 higher (worse) than its own initial mask (49.00) "
        "and 33.00 higher than the dense model's 20.00; news 96.0 ± 1.4, 2.00 lower (better) than its own initial mask "
        "(98.00) and 80.00 higher than the dense model's 16.00."
    )


def test_kept_losses_are_checked_and_tested_over_windows(found):
    assert not found.check.disagreeing
    evaluation = next(iter(found.evaluations.values()))
    assert len(evaluation.of(NEWS).window_tokens_W) == 12
    assert evaluation.of("neutral/gone/perplexity") is None
    (compared,) = found.comparisons[NEWS].values()
    magnitude = next(item for item in compared if item.side.item.method == "magnitude")
    assert magnitude.evaluation is None or magnitude.evaluation.n == 12


def test_a_recorded_value_that_does_not_follow_from_the_losses_is_found(writer, store, trial):
    wrong = trial("wanda", 0, 118.0, role="baseline", neutral={"news": (98.0, None)}, metrics={NEWS: 150.0})
    writer.launch("neutral-wrong", [*learned(trial), wrong], name="neutral-wrong-1", params=PARAMS)
    found = analyse(store, runs=collect(store, study="neutral-wrong"))
    assert len(found.check.disagreeing) == 1


def test_every_export_has_them(store, found):
    document = document_of(store, study="neutral")
    facts = dict(document.facts)
    assert set(facts["neutral texts"].split("; ")) == {"law (law.txt)", "news (news.txt)"}
    assert "selected on" not in facts
    value = json.loads(json_text(document))
    assert value["winners"][0]["neutral"] == {LAW: pytest.approx(53.0), NEWS: pytest.approx(96.0)}


def test_a_study_without_them_has_no_word_of_them(analysis, document):
    screen = first_screen_of(analysis)
    assert "neutral" not in " ".join([screen.verdict, *screen.findings, *screen.trust, *document.headline])
    assert neutral_metrics(analysis.configurations) == ()
    assert "neutral" not in json_text(document)
    assert text_figures(analysis.leaders[0].best, configurations=analysis.configurations) == ()


def test_where_the_study_selects_by_one_the_report_says_so(writer, store, trial):
    params = {**PARAMS, "search.metric": NEWS}
    writer.launch("by-neutral", [*rules(trial), *learned(trial)], name="by-neutral-1", params=params)
    document = document_of(store, study="by-neutral")
    assert dict(document.facts)["selected on"] == "neutral text news (news.txt)"
    found = analyse(store, runs=collect(store, study="by-neutral"))
    assert found.leaders[0].best.settings["alpha"] == 0.95
    assert any(
        "chosen on the same neutral text news that is reported: its mean is optimistic" in text
        for text in caveats_of(found)
    )
    screen = first_screen_of(found)
    assert " In-domain 84.00 (its start 118.00, dense 40.00); on neutral text: law 53.00 (" in screen.verdict
    line = next(text for text in screen.findings if text.startswith("In-domain"))
    assert "news 90.0 ± 1.4 (its start 98.00, wanda 98.00, dense 16.00, selected on)" in line
    assert "neutral/news" not in Objective("eval/perplexity", "min").reported


def test_with_validation_text_the_start_in_domain_is_of_that_text(writer, store, trial):
    params = {**PARAMS, "search.metric": "validation/perplexity", "data.validation.source": "v.txt"}
    own = [replace(item, validation=item.final + 1.0) for item in [*rules(trial), *learned(trial)]]
    writer.launch("neutral-validated", own, name="nv-1", params=params)
    found = analyse(store, runs=collect(store, study="neutral-validated"))
    line = next(text for text in first_screen_of(found).findings if text.startswith("In-domain"))
    assert line.startswith(
        "In-domain perplexity 80.0 ± 1.4 (wanda 118.00, dense 40.00); on the validation text 81.0 ± 1.4 "
        "(its start 118.00, "
    )
    assert selection_metric(NEWS, objective=found.runs.objective) == "validation/perplexity"


def test_two_sides_and_tables_of_studies_have_them(store, found):
    two = compare(["neutral:wanda", "neutral:maskpro"], tracking_uri=store.uri)
    (differences, *_) = two.document.tables
    assert [cell.value for cell in differences.column("metric")] == [
        "perplexity",
        "neutral law perplexity",
        "neutral news perplexity",
    ]
    one = compare(["neutral"], tracking_uri=store.uri)
    (table,) = one.document.tables
    assert [column.key for column in table.columns][1:] == ["eval/perplexity", LAW, NEWS]
    chosen = compare(["neutral"], tracking_uri=store.uri, metrics=["eval/perplexity"])
    assert [column.key for column in chosen.document.tables[0].columns][1:] == ["eval/perplexity"]


def test_other_texts_of_the_same_name_are_not_compared_unnoticed(writer, store, trial, found):
    def launch(study, **tags):
        own = {"nmlab.neutral_digests": json.dumps(tags)}
        rows = [trial("wanda", 0, 118.0, role="baseline", neutral={"news": (98.0, None)}, tags=own)]
        writer.launch(study, [*rows, *learned(trial, tags=own)], name=f"{study}-1", params=PARAMS)

    launch("news-a", news="aa")
    launch("news-b", news="bb")
    with pytest.raises(ValueError, match="the digest of the neutral text news differs"):
        compare(["news-a:wanda", "news-b:wanda"], tracking_uri=store.uri)
    only = compare(["news-a:wanda", "news-b:wanda"], tracking_uri=store.uri, metrics=["eval/perplexity"])
    assert "neutral" not in " ".join(only.document.warnings)

"""A study with validation text: configurations are selected on it, and reported on the evaluation text."""

import pytest

from nmlab.reports.analysis.analysis import Analysis, analyse
from nmlab.reports.analysis.compared_studies import ComparedConfiguration
from nmlab.reports.analysis.cross_tabulation import cross_tabulation, layout_of
from nmlab.reports.analysis.evaluation_check import check_evaluations
from nmlab.reports.analysis.pairwise import Side, losses_of, pairwise_comparisons
from nmlab.reports.analysis.selection_bias import selection_bias_of
from nmlab.reports.narrative.caveats import caveats_of
from nmlab.reports.narrative.headline import headline_of
from nmlab.reports.narrative.verdicts import verdict_sentences
from nmlab.reports.read.collect import collect
from nmlab.reports.read.evaluations import read_evaluations
from nmlab.reports.report import document_of
from nmlab.reports.tables.comparison import comparison_tables

EVALUATED, SELECTED = "eval/perplexity", "validation/perplexity"
PARAMS = {"search.metric": SELECTED, "data.validation.source": "held-out.txt"}
MEANS = {"0.9": (80.0, 84.0), "0.95": (82.0, 81.0), "0.99": (95.0, 96.0)}
"""On validation and on evaluation text, by alpha: the first selects 0.9, and 0.95 is better on the second."""
WOBBLE = {"0.9": (-0.6, 0.1, 0.5), "0.95": (-0.5, 0.2, 0.3), "0.99": (-0.4, -0.2, 0.6)}


def validated(trial, means=MEANS):
    """Dense, two rules, and three learned configurations with three seeds each."""
    rules = [
        trial("dense", 0, 40.0, role="baseline", validation=39.0),
        trial("magnitude", 0, 140.0, role="baseline", validation=139.0),
        trial("wanda", 0, 120.0, role="baseline", validation=118.0),
    ]
    return rules + [
        trial(
            "maskpro",
            seed,
            evaluated + WOBBLE[alpha][seed],
            118.0,
            {"alpha": alpha, "initial_mask": "wanda"},
            residual=[0.0, -0.1],
            validation=selected + WOBBLE[alpha][seed],
        )
        for alpha, (selected, evaluated) in means.items()
        for seed in range(3)
    ]


@pytest.fixture(scope="module")
def found(writer, store, trial) -> Analysis:
    writer.launch("validated", validated(trial), name="validated-1", params=PARAMS)
    return analyse(store, runs=collect(store, study="validated"))


def tables(found):
    return {table.key: table for table in comparison_tables(found)}


def item_of(found, alpha):
    return next(item for item in found.configurations if item.settings.get("alpha") == float(alpha))


def test_the_searched_metric_orders_and_the_evaluation_text_reports(found):
    learned = [item for item in found.configurations if item.method == "maskpro"]
    assert [item.settings["alpha"] for item in learned] == [0.9, 0.95, 0.99]
    assert [round(item.selection.mean, 6) for item in learned] == [80.0, 82.0, 95.0]
    assert [round(item.value.mean, 6) for item in learned] == [84.0, 81.0, 96.0]
    assert found.runs.objective.reported == EVALUATED


def test_one_that_the_evaluation_text_prefers_is_named_and_not_selected(found):
    (winner,) = found.winners.values()
    assert winner.best is item_of(found, "0.9")
    assert [other.item for other in winner.better_but_not_selected] == [item_of(found, "0.95")]
    assert not winner.is_claimed
    verdicts = tables(found)["winner"].column("verdict")
    assert [cell.value for cell in verdicts] == ["looks better, but was not selected", "worse"]
    first, gain, place, *_ = headline_of(found.runs, configurations=found.configurations)
    key = winner.best.key
    assert first.startswith(
        f"No winner among 3 configurations: maskpro with alpha=0.9 ({key}) has the best mean on the validation text "
        "and reaches perplexity 84.0 ± 1.4 (3 seeds)"
    )
    assert "On the evaluation text alpha=0.95" in first
    assert first.endswith("that is no selection, since the validation text selects.")
    assert gain.startswith(
        "On the validation text, on which starts are measured, it is 38.00 lower (better) than its own"
    )
    assert place.startswith(
        "On the evaluation text it is 44.00 higher than the dense model's 40.00 (one seed) and 36.00"
    )


def test_the_winner_of_both_texts_is_claimed(writer, store, trial):
    both = {"0.9": (80.0, 81.0), "0.95": (88.0, 89.0), "0.99": (99.0, 96.0)}
    writer.launch("validated-winner", validated(trial, both), name="winner-1", params=PARAMS)
    found = analyse(store, runs=collect(store, study="validated-winner"))
    (winner,) = found.winners.values()
    assert winner.is_claimed
    first = headline_of(found.runs, configurations=found.configurations)[0]
    assert first.startswith("Best of 3 configurations on the validation text: maskpro with alpha=0.9")
    assert "reaches perplexity 81.0" in first


def test_starts_are_compared_on_the_text_they_were_measured_on(found):
    summary, learned = tables(found)["summary"], tables(found)["learned_vs_initial"]
    keys = [column.key for column in summary.columns]
    rows = {row.cells[0].value: dict(zip(keys, row.cells, strict=True)) for row in summary.rows}
    start = rows["maskpro, its initial mask (wanda)"]
    assert start[EVALUATED].value is None
    assert start[SELECTED].value == pytest.approx(118.0)
    assert [round(cell.value, 6) for cell in learned.column("difference")] == [-38.0, -36.0, -23.0]
    assert "validation text" in learned.caption
    item = item_of(found, "0.9")
    side, initial = Side(item), Side(item, is_initial=True)
    assert initial.values(EVALUATED) == {}
    assert losses_of(initial, metric=EVALUATED, evaluations=found.evaluations) is None
    windows = losses_of(initial, metric=SELECTED, evaluations=found.evaluations)
    assert len(windows.tokens_W) == 15
    (compared,) = pairwise_comparisons(initial, others=[side], metric=SELECTED, evaluations=found.evaluations)
    assert compared.is_better


def test_only_the_evaluation_text_is_marked(found):
    summary = tables(found)["summary"]
    assert {str(cell.mark) for cell in summary.column(SELECTED)} == {""}
    marks = dict(zip([row.cells[0].value for row in summary.rows], summary.column(EVALUATED), strict=True))
    assert str(marks["maskpro, best of 3"].mark) == "best"
    every = tables(found)["configurations"]
    marks = {row.cells[-1].value: str(cell.mark) for row, cell in zip(every.rows, every.column(EVALUATED), strict=True)}
    assert marks[item_of(found, "0.95").key] == "best", "the tests find it better than the selected one"
    assert marks[item_of(found, "0.9").key] != "best"


def test_what_is_measured_on_the_way_is_of_the_validation_text(found):
    item = item_of(found, "0.9")
    curve = found.runs.progress[item.run_ids[1]]
    assert curve.by_step == {0: pytest.approx(118.0), 2: pytest.approx(80.1)}
    on_front = {point.item.key for point in found.front if point.on_front}
    assert item.key in on_front
    assert item_of(found, "0.95").key not in on_front
    front = {point.item.key: point.value.mean for point in found.front}
    assert front[item.key] == pytest.approx(84.0)


def test_the_caveat_is_on_the_seeds_and_no_longer_on_the_text(found):
    text = " ".join(caveats_of(found))
    assert "Selected on the text it reports" not in text
    assert "The best of 3 configurations was chosen on the validation text by the seeds that are reported" in text
    bias = selection_bias_of(found.configurations)
    assert (bias.of_text, bias.of_seeds) == (False, True)


def test_windows_of_both_texts_are_checked(found, store):
    trials = [trial for item in found.configurations for trial in item.finished]
    kept = read_evaluations(store, run_ids=[trial.run_id for trial in trials])
    assert len(check_evaluations(kept, trials=trials).agreeing) == len(trials)
    first = trials[-1]
    first.metrics[SELECTED] = 7.0  # a record that its windows do not confirm
    try:
        assert check_evaluations(kept, trials=trials).disagreeing == (first.run_id,)
    finally:
        first.metrics[SELECTED] = first.metrics["validation/token_perplexity"]


def test_a_model_from_elsewhere_is_compared_but_never_picked(writer, store, trial):
    external = trial("theirs", 0, 60.0, role="baseline", tags={"nmlab.judged": "true"})
    writer.launch("validated-external", [*validated(trial), external], name="external-1", params=PARAMS)
    found = analyse(store, runs=collect(store, study="validated-external"))
    theirs = next(item for item in found.configurations if item.method == "theirs")
    assert theirs.value.mean == 60.0
    assert theirs.selection is None
    place = headline_of(found.runs, configurations=found.configurations)[2]
    assert "the wanda mask's" in place
    (group,) = found.decisive_comparisons.values()
    assert {own.side.item.method: own for own in group}["theirs"].is_better
    sure = verdict_sentences(found)[0]
    assert "maskpro (best of 3) was selected, and 1 other has a better mean" in sure
    assert "separate it from 3 of 3 others (theirs better than it)." in sure


def test_the_report_says_what_selected(found, store):
    document = document_of(store, study="validated")
    assert ("selected on", "held-out.txt") in document.facts
    (winner,) = document.winners
    assert (winner["selected_by"], winner["looked_at"]) == (SELECTED, 3)
    assert winner["better_but_not_selected"] == [item_of(found, "0.95").key]
    assert not any("optimistic" in text for text in (*document.headline, *document.warnings))


def test_a_pivot_selects_within_its_study(found, writer, store, trial):
    writer.launch(
        "plain",
        [trial("maskpro", seed, 82.5 + seed, 99.0, {"alpha": "0.5"}, residual=[0.0]) for seed in range(3)],
        name="plain-1",
    )
    plain = analyse(store, runs=collect(store, study="plain"))
    members = [ComparedConfiguration("validated", "one", "1", item) for item in found.configurations]
    alone = cross_tabulation(members, layout=layout_of(members, rows=["method"], columns=[], metrics=[]))
    assert alone.best[("maskpro",), ()].settings["alpha"] == 0.9
    members += [ComparedConfiguration("plain", "one", "2", item) for item in plain.configurations]
    mixed = cross_tabulation(members, layout=layout_of(members, rows=["method"], columns=["pattern"], metrics=[]))
    assert mixed.best[("maskpro",), ("2:4",)].settings["alpha"] == 0.5, "84.0 of the selected one against 83.5"

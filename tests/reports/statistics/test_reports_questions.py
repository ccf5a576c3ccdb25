"""Accuracies compared question by question: the test, its power and its errors, and the tables that rest on it."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from measured import with_metrics
from scipy import stats

from nmlab.reports.analysis.analysis import analyse
from nmlab.reports.analysis.metrics import direction_of, is_of_task, style_of
from nmlab.reports.analysis.pairwise import Side, divided_questions, pairwise_comparisons
from nmlab.reports.analysis.summary_rows import names_of
from nmlab.reports.read.collect import collect
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.evaluations import QuestionOutcomes, RunEvaluation, read_question_outcomes
from nmlab.reports.statistics import (
    Noise,
    adjusted,
    compare_questions,
    detectable_by_questions,
    mcnemar,
    paired_bootstrap,
)
from nmlab.reports.tables.comparison import summary_table, tasks_table
from nmlab.reports.values import Direction, Mark, Style

METRIC = "eval/quiz/acc"
QUESTIONS = np.array([f"q{number}" for number in range(200)])
WINDOWS = (np.zeros(12), np.ones(12, dtype=int), np.ones(12, dtype=int), None)


def drawn(rng, *, questions, accuracy, change, gain=0.0):
    """Outcomes of two masks; on a share ``change`` of the questions the second has the other outcome."""
    first = rng.random(questions) < accuracy
    fate = rng.random(questions)
    better, worse = (change + gain) / 2, (change - gain) / 2
    second = np.where(fate < better, True, np.where(fate < better + worse, False, first))
    first = np.where(fate < better, False, np.where(fate < better + worse, True, first))
    return first.astype(float), second.astype(float)


# --- the test -------------------------------------------------------------------------------------------------


def test_equal_masks_are_separated_no_more_often_than_stated():
    rng = np.random.default_rng(1)
    p_values = np.array(
        [
            mcnemar([*(a > 0)], second=[*(b > 0)])
            for a, b in (drawn(rng, questions=150, accuracy=0.6, change=0.2) for _ in range(1500))
        ]
    )
    assert (p_values < 0.05).mean() < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)
    tables = p_values.reshape(150, 10)
    families = np.mean([min(adjusted(list(table))) < 0.05 for table in tables])
    assert families < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)


def test_among_tables_of_equal_and_better_masks_few_discoveries_are_false():
    rng = np.random.default_rng(2)
    shares = []
    for _ in range(120):
        gains = [0.0] * 6 + [0.12] * 4
        pairs = [drawn(rng, questions=200, accuracy=0.6, change=0.2, gain=gain) for gain in gains]
        found = [p < 0.05 for p in adjusted([mcnemar([*(a > 0)], second=[*(b > 0)]) for a, b in pairs])]
        shares.append(sum(found[:6]) / max(1, sum(found)))
    assert np.mean(shares) < 0.05 + 3 * np.std(shares) / math.sqrt(len(shares))
    assert sum(share == 0 for share in shares) > 60  # and there were discoveries to be right about


@pytest.mark.parametrize(("questions", "change"), [(60, 0.3), (300, 0.1), (1500, 0.25)])
def test_the_detectable_difference_is_detected_as_often_as_stated(questions, change):
    gain = detectable_by_questions(round(change * questions), questions=questions)
    rng = np.random.default_rng(questions)
    found = []
    for _ in range(800):
        a, b = drawn(rng, questions=questions, accuracy=0.5, change=max(change, gain), gain=gain)
        found.append(mcnemar([*(a > 0)], second=[*(b > 0)]) < 0.05)
    assert np.mean(found) == pytest.approx(0.8, abs=3 * math.sqrt(0.8 * 0.2 / 800))


def test_detectable_differences_shrink_with_questions_and_grow_with_what_divides():
    assert detectable_by_questions(20, questions=100) > detectable_by_questions(200, questions=1000)
    assert detectable_by_questions(50, questions=100) > detectable_by_questions(20, questions=100)
    # Where nothing divides, the winner must take all of at least six questions.
    gain = detectable_by_questions(0, questions=100)
    assert stats.binom.sf(5, 100, gain) == pytest.approx(0.8, abs=1e-3)
    assert detectable_by_questions(2, questions=5) == 1.0
    with pytest.raises(ValueError, match="6 dividing questions of 5 are not possible"):
        detectable_by_questions(6, questions=5)


def test_single_runs_are_tested_by_mcnemar_and_means_over_seeds_by_permutation():
    rng = np.random.default_rng(3)
    first, second = drawn(rng, questions=200, accuracy=0.5, change=0.2, gain=0.1)
    (found,) = paired_bootstrap((first - second)[:, None], weights_W=np.ones(200))
    single = compare_questions(first, second_Q=second, found=found)
    assert single.p_value == mcnemar([*(first > 0)], second=[*(second > 0)])
    assert (single.noise, single.n, single.difference) == (Noise.QUESTIONS, 200, pytest.approx((first - second).mean()))
    assert single.low < single.difference < single.high
    # Three seeds with equal outcomes are like one: the permutation agrees with the exact test.
    blurred = compare_questions(first, second_Q=second * 0.999, found=found)
    assert blurred.p_value == pytest.approx(single.p_value, abs=0.02)


# --- which noise decides --------------------------------------------------------------------------------------


def with_accuracy(item, values):
    with_metrics(item, {METRIC: values})
    return item


def kept(item, *outcomes, questions=QUESTIONS):
    runs = item.run_ids
    return {
        run: RunEvaluation(*WINDOWS, {METRIC: QuestionOutcomes(questions, np.asarray(own, dtype=float))})
        for run, own in zip(runs, outcomes, strict=True)
    }


@pytest.fixture
def question_outcomes():
    """Two sets of outcomes of 200 questions; they differ on 40, of which the first is right on 30."""
    rng = np.random.default_rng(4)
    first = (rng.random(200) < 0.6).astype(float)
    first[:30], first[30:40] = 1.0, 0.0
    second = first.copy()
    second[:30], second[30:40] = 0.0, 1.0
    return first, second


def test_two_rules_are_decided_by_the_questions(configuration, question_outcomes):
    first, second = question_outcomes
    items = [
        with_accuracy(configuration([10.0], method=name, role="baseline"), [own.mean()])
        for name, own in zip(("wanda", "magnitude"), question_outcomes, strict=True)
    ]
    evaluations = {**kept(items[0], first), **kept(items[1], second)}
    sides = [Side(item) for item in items]
    (found,) = pairwise_comparisons(sides[0], others=sides[1:], metric=METRIC, evaluations=evaluations)
    assert found.decisive.noise is Noise.QUESTIONS
    assert found.p_adjusted == pytest.approx(stats.binomtest(10, 40, 0.5).pvalue)
    assert found.is_separated is True
    assert found.evaluation.difference == pytest.approx(-0.1)
    assert divided_questions(sides[1], second=sides[0], metric=METRIC, evaluations=evaluations) == (10, 30)


def test_a_trained_mask_is_decided_over_seeds_and_by_no_number_of_questions(configuration, question_outcomes):
    first, second = question_outcomes
    rule = with_accuracy(configuration([10.0], method="wanda", role="baseline"), [second.mean()])
    alone = with_accuracy(configuration([9.0]), [first.mean()])
    with_metrics(alone, {"initial/perplexity": [40.0]})
    trained = with_accuracy(configuration([9.0, 9.1, 9.2], alpha=1), [first.mean(), second.mean(), first.mean()])
    evaluations = {**kept(rule, second), **kept(alone, first), **kept(trained, first, second, first)}
    found = pairwise_comparisons(
        Side(rule), others=[Side(alone), Side(trained)], metric=METRIC, evaluations=evaluations
    )
    assert (found[0].decisive, found[0].is_separated) == (None, None)
    assert found[0].evaluation.p_value == pytest.approx(stats.binomtest(10, 40, 0.5).pvalue)
    assert found[1].decisive.noise is Noise.TRAINING
    assert found[1].evaluation.difference == pytest.approx(2 * 0.1 / 3)


def test_other_questions_are_no_pairs(configuration, question_outcomes):
    items = [with_accuracy(configuration([10.0], method=name, role="baseline"), [0.5]) for name in ("a", "b")]
    evaluations = {
        **kept(items[0], question_outcomes[0]),
        **kept(items[1], question_outcomes[1], questions=QUESTIONS[::-1]),
    }
    sides = [Side(item) for item in items]
    (found,) = pairwise_comparisons(sides[0], others=sides[1:], metric=METRIC, evaluations=evaluations)
    assert found.evaluation is None
    assert divided_questions(sides[0], second=sides[1], metric=METRIC, evaluations=evaluations) is None


def test_the_windows_of_the_text_say_nothing_about_the_perplexity_of_a_task(configuration):
    metric = "eval/wikitext/word_perplexity"
    items = [configuration([10.0], method=name, role="baseline") for name in ("a", "b")]
    losses = np.random.default_rng(0).random((2, 12))
    evaluations = {}
    for item, own in zip(items, losses, strict=True):
        with_metrics(item, {metric: [own.sum()]})
        evaluations[item.run_ids[0]] = RunEvaluation(own, *WINDOWS[1:])
    (found,) = pairwise_comparisons(Side(items[0]), others=[Side(items[1])], metric=metric, evaluations=evaluations)
    assert found.evaluation is None


@pytest.mark.parametrize(
    ("metric", "style", "direction"),
    [
        ("eval/quiz/acc", Style.FIXED4, Direction.HIGHER),
        ("eval/quiz/acc_norm", Style.FIXED4, Direction.HIGHER),
        ("eval/gsm8k/exact_match.strict-match", Style.FIXED4, Direction.HIGHER),
        ("eval/wikitext/word_perplexity", Style.FIXED2, Direction.LOWER),
        ("eval/quiz/brier_score", Style.FIXED4, Direction.LOWER),
        ("eval/quiz/likelihood_diff", Style.FIXED4, Direction.NONE),
    ],
)
def test_measures_of_tasks_are_known_by_their_names(metric, style, direction):
    assert is_of_task(metric)
    assert (style_of(metric), direction_of(metric)) == (style, direction)


# --- a study with tasks ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quizzed(writer, store, trial):
    """Wanda is clearly best in one quiz; in another magnitude and random are nearly equal. MaskPro has seeds."""
    rng = np.random.default_rng(5)
    base = (rng.random(300) < 0.5).astype(int)

    def changed(better, worse):
        own = base.copy()
        own[np.flatnonzero(base == 0)[:better]] = 1
        own[np.flatnonzero(base == 1)[:worse]] = 0
        return own

    rows = [
        trial("dense", 0, 20.0, role="baseline", question_outcomes={"quiz": changed(90, 0), "arc": changed(80, 0)}),
        trial("wanda", 0, 60.0, role="baseline", question_outcomes={"quiz": changed(60, 5), "arc": changed(12, 8)}),
        trial("magnitude", 0, 90.0, role="baseline", question_outcomes={"quiz": base, "arc": changed(9, 8)}),
    ]
    for seed in range(3):
        own = {"quiz": changed(40 + seed, 5), "arc": changed(11 + 2 * seed, 8)}
        rows.append(trial("maskpro", seed, 55.0 + seed, 60.0, {"alpha": "0.9"}, residual=[0.0], question_outcomes=own))
    writer.launch("quizzed", rows, name="quizzed-1")
    return analyse(store, runs=collect(store, study="quizzed"))


def test_best_second_and_what_is_inseparable_are_marked_for_accuracies_too(quizzed):
    table = summary_table(quizzed.configurations, comparisons=quizzed.comparisons)
    marks = {
        metric: dict(
            zip([cell.value for cell in table.column("mask")], [c.mark for c in table.column(metric)], strict=True)
        )
        for metric in ("eval/quiz/acc", "eval/arc/acc")
    }
    assert marks["eval/quiz/acc"] == {
        "dense (no mask)": Mark.NONE,
        "wanda": Mark.BEST,
        "magnitude": Mark.NONE,
        "maskpro, its initial mask": Mark.NONE,
        "maskpro": Mark.SECOND,
    }
    assert (marks["eval/arc/acc"]["magnitude"], marks["eval/arc/acc"]["wanda"]) == (Mark.TIED, Mark.TIED)
    assert marks["eval/arc/acc"]["maskpro"] is Mark.BEST


def test_the_table_of_tasks_keeps_questions_and_seeds_apart(quizzed):
    table = tasks_table(
        quizzed.configurations,
        names=names_of(quizzed.summary_rows),
        comparisons=quizzed.comparisons,
        evaluations=quizzed.evaluations,
    )
    cells = [{column.key: cell for column, cell in zip(table.columns, row.cells, strict=True)} for row in table.rows]
    rows = {(own["task"].value, own["mask"].value): own for own in cells}
    assert rows.keys() == {
        (task, mask) for task, masks in (("quiz acc", ("magnitude", "maskpro")), ("arc acc", ("magnitude", "wanda")))
        for mask in masks
    }  # fmt: skip
    plain = rows["quiz acc", "magnitude"]
    assert plain["divided"].value == "5 : 60"
    assert (plain["noise"].value, plain["verdict"].value) == ("300 questions", "worse")
    assert plain["questions"].value == pytest.approx(-55 / 300)
    assert plain["detectable"].value == pytest.approx(detectable_by_questions(65, questions=300))
    trained = rows["quiz acc", "maskpro"]
    assert (trained["noise"].value, trained["seeds"].n, trained["questions"].n) == ("3 seeds", 3, 300)
    assert all(own["p_questions"].value is not None for own in cells)
    assert "McNemar's exact test" in table.notes[0]


def test_p_values_of_all_tasks_are_adjusted_together(quizzed):
    tasks = [groups for metric, groups in quizzed.comparisons.items() if is_of_task(metric)]
    found = [item for groups in tasks for group in groups.values() for item in group]
    assert len(found) == 4
    for noise in Noise:
        own = [item for item in found if item.decisive.noise is noise]
        assert [item.p_adjusted for item in own] == list(adjusted([item.decisive.p_value for item in own]))


def test_the_question_outcomes_give_the_recorded_accuracy(quizzed, store, checked):
    assert quizzed.check.disagreeing == ()
    wrong = [replace(trial, metrics={**trial.metrics, METRIC: 0.25}) for trial in quizzed.runs.trials]
    assert len(checked(wrong).disagreeing) == len(wrong)


def test_a_corrupted_archive_of_questions_names_run_and_array(writer, store, trial, tmp_path):
    writer.launch("broken-quiz", [trial("wanda", 0, 60.0, question_outcomes={"quiz": [0, 1, 1]})], name="broken-quiz-1")
    run_id = collect(store, study="broken-quiz").trials[0].run_id

    def put(content):
        path = tmp_path / "tasks.npz"
        path.write_bytes(content)
        writer.client.log_artifact(run_id, str(path))

    assert read_question_outcomes(store, run_id=run_id).keys() == {METRIC}
    for arrays, message in (
        ({"quiz/acc": np.ones(3)}, "has no array 'quiz/question'"),
        ({"quiz/acc": np.ones(3), "quiz/question": np.array(["a"])}, "different length for task 'quiz'"),
    ):
        content = io.BytesIO()
        np.savez(content, **arrays)
        put(content.getvalue())
        with pytest.raises(ReportError, match=f"tasks.npz of run {run_id} .*{message}"):
            read_question_outcomes(store, run_id=run_id)
    put(b"no archive")
    with pytest.raises(ReportError, match=f"tasks.npz of run {run_id} is corrupted"):
        read_question_outcomes(store, run_id=run_id)

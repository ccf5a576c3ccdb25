"""Per-window losses: read safely, checked against the recorded perplexities."""

import io
import math
import pickle

import numpy as np
import pytest

from nmlab.reports.analysis.evaluation_check import check_evaluations
from nmlab.reports.read.collect import collect
from nmlab.reports.read.errors import ReportError
from nmlab.reports.read.evaluations import RunEvaluation, read_evaluation
from nmlab.reports.read.frame import trial_frame
from nmlab.reports.read.trials import TrialRecord


def replace_artifact(writer, run_id, content, tmp_path):
    path = tmp_path / "evaluation.npz"
    path.write_bytes(content)
    writer.client.log_artifact(run_id, str(path))


def archive(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


@pytest.fixture
def run_id(writer, store, trial, request):
    study = f"evaluation-{request.node.name}"
    writer.launch(study, [trial("wanda", 0, 50.0, role="baseline")], name="e-1")
    return trial_frame(collect(store, study=study).trials)["run_id"].iloc[0]


def record(metrics):
    return TrialRecord("a", "", "c", "baseline", "wanda", "2:4", 0, "finished", metrics=metrics)


def test_perplexities_follow_from_the_windows(store, runs):
    trial = next(trial for trial in runs.trials if trial.metric("eval/perplexity") == 78.0)
    evaluation = read_evaluation(store, run_id=trial.run_id)
    assert evaluation.token_perplexity == pytest.approx(78.0)
    assert evaluation.word_perplexity == pytest.approx(trial.metric("eval/word_perplexity"))
    assert evaluation.initial_window_loss_sum_W.shape == evaluation.window_tokens_W.shape == (12,)


def test_check_of_the_small_study(checked, runs):
    finished = [trial for trial in runs.trials if trial.is_finished]
    check = checked(finished)
    assert (len(check.agreeing), check.disagreeing, check.missing) == (16, (), ())
    assert (check.windows, check.tokens, check.words, check.is_same_text) == (12, 1200, 720, True)


def test_a_perplexity_that_does_not_follow_is_named(writer, store, checked, run_id, tmp_path):
    arrays = {"window_tokens": np.array([10]), "window_words": np.array([6])}
    replace_artifact(writer, run_id, archive(window_loss_sum=np.array([10 * np.log(51.0)]), **arrays), tmp_path)
    rows = collect(store, study="evaluation-test_a_perplexity_that_does_not_follow_is_named").trials
    check = checked(rows)
    assert check.disagreeing == (run_id,)


def test_a_run_without_the_artifact_is_missing(writer, store, checked, trial):
    trials = [
        trial("wanda", 0, 50.0, role="baseline"),
        trial("magnitude", 0, 60.0, role="baseline", keeps_losses=False),
    ]
    writer.launch("half-kept", trials, name="half-kept-1")
    trials = collect(store, study="half-kept").trials
    lost = [trial for trial in trials if trial.method == "magnitude"]
    assert checked(trials).missing == tuple(trial.run_id for trial in lost)
    assert checked(lost) is None


@pytest.mark.parametrize(
    ("recorded", "place"),
    [
        ({"eval/token_perplexity": 50.0}, "agreeing"),
        ({"eval/token_perplexity": 51.0}, "disagreeing"),
        (
            {"eval/token_perplexity": math.nan, "eval/word_perplexity": math.nan, "eval/perplexity": math.nan},
            "uncheckable",
        ),
        ({}, "uncheckable"),
        ({"eval/perplexity": 50.0}, "agreeing"),  # of tokens or of words
        ({"eval/perplexity": 50.0**2}, "agreeing"),
        ({"eval/perplexity": 60.0}, "disagreeing"),
    ],
)
def test_what_was_not_recorded_is_no_agreement(recorded, place):
    kept = RunEvaluation(np.full(4, 10 * np.log(50.0)), np.full(4, 10), np.full(4, 5), None)
    check = check_evaluations({"a": kept}, trials=[record(recorded)])
    found = {name: getattr(check, name) for name in ("agreeing", "disagreeing", "uncheckable", "missing")}
    assert found == {**dict.fromkeys(found, ()), place: ("a",)}
    assert check.runs == 1


def test_losses_that_are_not_finite_do_not_give_what_was_recorded():
    kept = RunEvaluation(np.full(4, math.nan), np.full(4, 10), np.full(4, 5), None)
    trials = [record({"eval/token_perplexity": 50.0})]
    assert check_evaluations({"a": kept}, trials=trials).disagreeing == ("a",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"garbage", "is corrupted"),
        (b"PK\x03\x04 broken zip", "is corrupted"),
        (archive(window_loss_sum=np.ones(3)), "has no array 'window_tokens'"),
        (
            archive(window_loss_sum=np.ones(3), window_tokens=np.ones(3), window_words=np.ones(2)),
            "arrays of different length",
        ),
    ],
    ids=["text", "zip", "absent", "length"],
)
def test_a_corrupted_artifact_is_named(writer, store, run_id, tmp_path, content, message):
    replace_artifact(writer, run_id, content, tmp_path)
    with pytest.raises(ReportError, match=message) as caught:
        read_evaluation(store, run_id=run_id)
    assert run_id in str(caught.value)


class Bomb:
    """Unpickling it would leave a mark."""

    def __reduce__(self):
        return (pytest.fail, ("the artifact was unpickled",))


def test_pickles_are_never_run(writer, store, run_id, tmp_path):
    held = np.array([Bomb()], dtype=object)
    replace_artifact(writer, run_id, archive(window_loss_sum=held), tmp_path)
    with pytest.raises(ReportError, match="is corrupted: Object arrays cannot be loaded"):
        read_evaluation(store, run_id=run_id)
    replace_artifact(writer, run_id, pickle.dumps(Bomb()), tmp_path)
    with pytest.raises(ReportError, match="is corrupted"):
        read_evaluation(store, run_id=run_id)

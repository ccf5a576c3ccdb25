"""What a later process of a launch reads from the journal of those before it."""

import pytest

from nmlab.platform.launches.journal import evaluations, trials_ended_for_good
from nmlab.platform.records.events import TrialEnded, TrialMetrics, TrialSubmitted

PERPLEXITY = "eval/perplexity"


def metrics(key, step, **values):
    named = {name.replace("__", "/"): value for name, value in values.items()}
    return TrialMetrics(key=key, step=step, time=1000 * step, values=named)


def ended(key, status, **others):
    return TrialEnded(key=key, result={"key": key, "status": status, "metrics": {PERPLEXITY: 9.0}, **others})


def test_evaluations_are_by_trial_and_step_and_the_last_one_comes_with_the_result():
    records = [
        TrialSubmitted(key="a", spec={}),
        metrics("a", 0, eval__perplexity=20.0),  # the start, as earlier versions name it
        metrics("b", 0, initial__perplexity=20.0),
        metrics("b", 5, eval__perplexity=30.0),
        metrics("a", 3, train__loss=4.0),
        metrics("a", 5, train__loss=3.5, eval__perplexity=15.0),
        metrics("a", 5, train__loss=3.5, eval__perplexity=15.0),  # repeated after a move
        metrics("a", 9, eval__perplexity=12.0, cost__tokens=100.0),
    ]
    assert evaluations(iter(records), metric=PERPLEXITY) == {"a": {5: 15.0}, "b": {5: 30.0}}, "a start is none"
    assert evaluations(iter(records), metric="train/loss") == {"a": {5: 3.5}}


@pytest.mark.parametrize(
    ("status", "others", "is_for_good"),
    [
        ("finished", {}, True),
        ("diverged", {}, True),
        ("stopped", {"resumable": False}, True),
        ("stopped", {"resumable": True}, False),
        ("failed", {}, False),
    ],
)
def test_a_resumable_trial_has_not_ended(status, others, is_for_good):
    found = trials_ended_for_good(iter([ended("a", status, **others)]))
    assert list(found) == ["a"] * is_for_good
    assert not found or found["a"][PERPLEXITY] == 9.0


def test_the_last_result_of_a_trial_counts():
    assert trials_ended_for_good(iter([ended("a", "failed"), ended("a", "finished")]))["a"]["status"] == "finished"

"""Pairs at an equal budget: the values that recorded curves have there, and the reasons where they have none."""

import pytest
from measured import as_curves, with_metrics

from nmlab.reports.analysis.two_sides import MatchedPair, at_equal_budget, compare_pairs, runs_at_their_end

METRIC = "eval/perplexity"


def learned(configuration, points, *, tokens, method="maskpro"):
    """A configuration of two seeds that ends at the last of these points, with its curves; seed 1 is 1 above."""
    last = points[max(points)]
    item = configuration([last, last + 1], method=method)
    with_metrics(item, {"cost/tokens": tokens, "cost/initial_tokens": 0.0, "initial/perplexity": 99.0})
    rows = [
        {"run_id": run_id, "step": step, "value": value + seed}
        for seed, run_id in enumerate(item.run_ids)
        for step, value in {0: 99.0, **points}.items()
    ]
    return item, as_curves(rows)


def reached(first, second, kind="tokens"):
    return at_equal_budget(MatchedPair((), first[0], second[0]), kind=kind, progress=(first[1], second[1]))


def test_the_dearer_side_has_its_last_evaluation_within_what_the_cheaper_spent(configuration):
    """B spends 100 tokens in all. A's 400 are spread over 40 steps, so 100 are its steps up to 10."""
    first = learned(configuration, {8: 80.0, 12: 75.0, 40: 60.0}, tokens=400.0)
    second = learned(configuration, {5: 90.0, 10: 70.0}, tokens=100.0, method="susi")
    pair = reached(first, second)
    assert (pair.budget.kind, pair.budget.size, pair.budget.steps) == ("tokens", 100.0, ((8, 40), (10, 10)))
    (found,) = compare_pairs([pair], metrics=[METRIC], evaluations={})
    assert [list(side.values()) for side in found.values] == [[80.0, 81.0], [70.0, 71.0]]
    assert runs_at_their_end(pair) == second[0].run_ids, "the losses that A kept are of another mask"
    swapped = reached(second, first)
    assert (swapped.budget.size, swapped.budget.steps) == (100.0, ((10, 10), (8, 40)))


def test_an_equal_number_of_steps(configuration):
    first = learned(configuration, {8: 80.0, 12: 75.0, 40: 60.0}, tokens=400.0)
    second = learned(configuration, {5: 90.0, 12: 70.0}, tokens=100.0, method="susi")
    pair = reached(first, second, "steps")
    assert (pair.budget.size, pair.budget.steps) == (12.0, ((12, 40), (12, 12)))


def test_a_side_that_was_evaluated_at_its_end_alone_has_no_value_there(configuration):
    first = learned(configuration, {40: 60.0}, tokens=400.0)
    second = learned(configuration, {10: 70.0}, tokens=100.0, method="susi")
    assert reached(first, second) == (
        f"maskpro ({first[0].key}) was first evaluated at step 40, after more than 100 tokens; "
        "intervals.evaluate_every adds evaluations"
    )


@pytest.mark.parametrize("kind", ["seconds", "tokens"])
def test_a_side_without_a_curve_or_its_cost_says_so(configuration, kind):
    first = learned(configuration, {40: 60.0}, tokens=400.0)
    second = learned(configuration, {10: 70.0}, tokens=100.0, method="susi")
    if kind == "tokens":
        second = (second[0], {})
    side = first if kind == "seconds" else second
    assert reached(first, second, kind) == f"{side[0].method} ({side[0].key}) recorded no curve with its {kind}"

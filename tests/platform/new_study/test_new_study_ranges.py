"""The ranges that `nmlab new` writes: what worked lies in them, and they change with the size of the model."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmlab.platform.new_study.ranges import advice, with_steps
from nmlab.platform.new_study.sizes import fitting_sizes
from nmlab.platform.new_study.texts import three_texts
from nmlab.reports.scaling.flips import deviation_probability
from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern

PATTERN = Pattern(2, 4)
TINY, LLAMA = 26_624, 4 * 1_619_001_344


def found(method, weights, pattern=PATTERN):
    return advice(method, weights=weights, pattern=pattern, start="wanda")


def ends(advised, name):
    low, high = advised.space[name].entry.partition("[")[2].rstrip("]}").split(",")
    return float(low), float(high)


@pytest.mark.parametrize(
    ("method", "weights", "name", "worked"),
    [
        ("maskpro", TINY, "logit_magnitude", 4.0),
        ("maskpro", TINY, "learning_rate", 1.0),
        ("maskpro", LLAMA, "logit_magnitude", 10.0),
        ("maskpro", LLAMA, "learning_rate", 50.0),
        ("maskpro", LLAMA, "learning_rate", 100.0),
        ("susi", TINY, "learning_rate", 0.05),
        ("susi", 357_826_560, "learning_rate", 1e-3),
        ("soft_topn", TINY, "learning_rate", 0.15),
        ("soft_topn", TINY, "lambda_end", 0.2),
        ("soft_topn", 106_168_320, "learning_rate", 0.01),
    ],
)
def test_what_worked_lies_in_the_range(method, weights, name, worked):
    low, high = ends(found(method, weights), name)
    assert low < worked < high


def test_steps_are_about_those_that_worked():
    assert found("maskpro", TINY).steps == pytest.approx(2_000, rel=0.2)
    assert found("maskpro", LLAMA).steps == pytest.approx(10_000, rel=0.2)
    assert (found("susi", TINY).steps, found("susi", 357_826_560).steps) == (400, 2_000)


@given(st.integers(4_000, 10**11), st.sampled_from(["2:4", "4:8", "1:4", "8:16", "3:7"]))
def test_every_size_and_pattern_has_ranges_with_reasons(weights, pattern):
    for method in ("maskpro", "susi", "soft_topn"):
        advised = found(method, weights, Pattern.parse(pattern))
        for name, item in advised.space.items():
            low, high = ends(advised, name)
            assert 0 < low < high < math.inf
            assert item.reason
        assert advised.steps >= 100
        assert all(ends(advised, name)[0] <= point[name] <= ends(advised, name)[1] for point in advised.first
                   for name in point)  # fmt: skip


@given(st.integers(10_000, 10**10), st.integers(10_000, 10**10))
def test_a_larger_model_gets_a_larger_magnitude_and_the_others_a_smaller_rate(first, second):
    small, large = sorted((first, second))
    if large < 2 * small:
        return
    assert ends(found("maskpro", small), "logit_magnitude") < ends(found("maskpro", large), "logit_magnitude")
    assert ends(found("susi", small), "learning_rate") > ends(found("susi", large), "learning_rate")
    if small >= TINY:
        assert ends(found("soft_topn", small), "learning_rate") > ends(found("soft_topn", large), "learning_rate")


def test_a_large_model_starts_soft_topn_from_the_saliency_of_a_rule():
    assert not found("soft_topn", TINY).fixed
    fixed = {name: value.entry for name, value in found("soft_topn", 106_168_320).fixed.items()}
    assert fixed == {"initial_logits": "saliency", "initial_mask": "wanda"}


def test_fewer_steps_move_a_logit_as_far_with_a_larger_rate():
    whole = found("maskpro", TINY)
    half = with_steps(whole, whole.steps // 2)
    for name, factor in (("learning_rate", 2.0), ("logit_magnitude", 1.0)):
        assert ends(half, name) == pytest.approx([factor * end for end in ends(whole, name)], rel=0.01)
    assert [point["learning_rate"] for point in half.first] == pytest.approx(
        [2 * point["learning_rate"] for point in whole.first], rel=0.01
    )
    assert with_steps(found("susi", TINY), 10) == found("susi", TINY)


def test_the_points_that_are_tried_first_move_a_logit_equally_far():
    """Along the ridge: a larger magnitude changes fewer groups, and needs a larger rate."""
    moved = {
        round(point["learning_rate"] * deviation_probability(point["logit_magnitude"], n=2, m=4), 3)
        for point in found("maskpro", TINY).first
    }
    assert max(moved) == pytest.approx(min(moved), rel=0.02)


SOURCES = dict.fromkeys(("calibration", "validation", "evaluation"), "text")


@given(st.tuples(*[st.integers(600, 10**7)] * 3), st.one_of(st.none(), st.integers(32, 5_000)))
def test_sizes_fit_the_model_and_the_texts(tokens, context):
    given_tokens = dict(zip(SOURCES, tokens, strict=True))
    sizes = fitting_sizes(given_tokens, context=context, sources=SOURCES)
    assert context is None or sizes.length <= context
    assert 16 <= sizes.samples <= 512
    assert sizes.samples * (sizes.length - 1) < given_tokens["calibration"]
    assert 1 <= sizes.batch <= min(32, sizes.samples)
    assert sizes.batch * sizes.length <= 4_096
    for name, windows in sizes.windows.items():
        assert windows >= 16
        assert windows * sizes.length < given_tokens[name]


def test_a_text_that_is_cut_already_is_not_cut_again():
    with pytest.raises(SourceError, match=r"^text 'corpus\.txt\[:50%\]': expected a whole text"):
        three_texts(["corpus.txt[:50%]"])


def test_a_hub_id_is_cut_by_its_split_and_a_corpus_by_its_parts():
    hub = three_texts(["org/name"], column="page").sections
    assert hub["calibration"] == {"source": "org/name", "split": "train[:80%]", "column": "page"}
    assert hub["evaluation"]["split"] == "train[90%:]"
    corpus = three_texts(["builtin:python-docs"]).sections
    assert [dict(each) for each in corpus.values()] == [{"source": "builtin:python-docs"}] * 3
    mixed = three_texts(["builtin:python-docs", "held-out.txt"]).sections
    assert [each["source"] for each in mixed.values()] == ["builtin:python-docs"] * 2 + ["held-out.txt"]

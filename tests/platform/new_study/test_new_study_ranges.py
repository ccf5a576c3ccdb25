"""The ranges that `nmlab new` writes: what worked lies in them, and they change with the size of the model."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmlab.platform.new_study.ranges import advice
from nmlab.platform.new_study.sizes import fitting_sizes
from nmlab.platform.new_study.texts import three_texts
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
        ("maskpro", TINY, "logit_magnitude", 6.0),
        ("maskpro", TINY, "walk_rate", 0.2),
        ("maskpro", LLAMA, "walk_rate", 0.1),
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
def test_a_larger_model_gets_a_smaller_rate_but_the_same_walk_rate(first, second):
    small, large = sorted((first, second))
    if large < 2 * small:
        return
    assert found("maskpro", small).space == found("maskpro", large).space
    assert ends(found("susi", small), "learning_rate") > ends(found("susi", large), "learning_rate")
    if small >= TINY:
        assert ends(found("soft_topn", small), "learning_rate") > ends(found("soft_topn", large), "learning_rate")


def test_a_large_model_starts_soft_topn_from_the_saliency_of_a_rule():
    assert not found("soft_topn", TINY).fixed
    fixed = {name: value.entry for name, value in found("soft_topn", 106_168_320).fixed.items()}
    assert fixed == {"initial_logits": "saliency", "initial_mask": "wanda"}


def test_maskpro_has_the_recommended_form_and_names_the_papers():
    advised = found("maskpro", TINY)
    assert {name: value.entry for name, value in advised.fixed.items()} == {
        "initial_mask": "wanda",
        "mask_per": "sequence",
        "initial_logits": "saliency",
        "learning_rate_schedule": "linear",
    }
    assert "learning_rate" not in advised.space
    (alternative,) = (text for text in advised.evidence if text.startswith("The paper's form instead"))
    low, high = map(float, re.findall(r"learning_rate {loguniform: \[([\d.]+), ([\d.]+)\]}", alternative)[0])
    assert low < 1.0 < high, "the rate that worked on builtin:tiny"


def test_a_minibatch_of_one_sequence_has_no_mask_for_every_sequence():
    alone = advice("maskpro", weights=TINY, pattern=PATTERN, start="wanda", sequences=1)
    assert "mask_per" not in alone.fixed


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

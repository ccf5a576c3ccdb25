"""Calibration from a mixture of texts: which windows are drawn, in what order, and what is refused."""

from pathlib import Path

import pytest
import torch

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.sections import CalibrationSpec
from nmlab.trials.data import TextSource, calibration_batches, read_calibration

CUT = {"sequence_length": 8, "batch_size": 4}


@pytest.fixture
def texts(tmp_path):
    """Two texts of letters that the other lacks."""
    paths = []
    for name, letter in (("a", "x"), ("b", "y")):
        path = tmp_path / f"{name}.txt"
        path.write_text(" ".join(f"{letter}{number}" for number in range(400)), encoding="utf-8")
        paths.append(str(path))
    return paths


@pytest.fixture
def drawn(texts, tokenizer):
    """Return all windows of a mixture, for each the text that it is of, and the sizes of the minibatches."""

    def draw(weights=(1.0, 2.0), *, samples=12, seed=0):
        parts = [{"source": path, "weight": weight} for path, weight in zip(texts, weights, strict=True)]
        spec = CalibrationSpec(source=parts, samples=samples, seed=seed, **CUT)
        batches = read_calibration(spec, tokenizer=tokenizer)
        tokens = torch.cat(batches)
        return tokens, ["x" in tokenizer.decode(window) for window in tokens], [len(batch) for batch in batches]

    return draw


def rows(tokens):
    return [tuple(row) for row in tokens.tolist()]


def test_each_text_gives_its_share_in_one_shuffled_order(drawn):
    tokens, is_first, sizes = drawn()
    assert (is_first.count(True), is_first.count(False), sizes) == (4, 8, [4, 4, 4])
    assert tokens.dtype == torch.int64
    assert tokens.shape == (12, 8)
    assert is_first not in (sorted(is_first), sorted(is_first, reverse=True)), "minibatches mix the texts"


def test_the_same_seed_draws_the_same_windows_and_another_others(drawn):
    assert torch.equal(drawn()[0], drawn()[0])
    assert not torch.equal(drawn()[0], drawn(seed=1)[0])


def test_another_weight_takes_more_or_fewer_of_the_same_windows(drawn):
    by_weight = {weights: drawn(weights) for weights in ((1.0, 2.0), (2.0, 1.0))}
    own = {weights: set(rows(tokens[torch.tensor(firsts)])) for weights, (tokens, firsts, _) in by_weight.items()}
    assert own[1.0, 2.0] < own[2.0, 1.0]


def test_windows_are_those_of_the_text_and_none_twice(drawn, texts, tokenizer):
    tokens, is_first, _ = drawn(samples=30)
    assert len(set(rows(tokens))) == 30
    content = Path(texts[0]).read_text(encoding="utf-8")
    stream = [*tokenizer(content, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    every = {tuple(stream[start : start + 8]) for start in range(0, len(stream) - 7, 7)}
    assert set(rows(tokens[torch.tensor(is_first)])) <= every


def test_a_text_alone_is_drawn_from_as_ever(texts, tokenizer):
    spec = CalibrationSpec(source=texts[0], samples=10, seed=5, **CUT)
    expected = calibration_batches(
        TextSource(texts[0], part="calibration"), tokenizer=tokenizer, samples=10, seed=5, **CUT
    )
    for own, other in zip(read_calibration(spec, tokenizer=tokenizer), expected, strict=True):
        assert torch.equal(own, other)
    assert spec.model_dump() == {
        **CalibrationSpec(source="a", samples=10, seed=5, **CUT).model_dump(),
        "source": texts[0],
    }


def test_a_text_that_is_too_short_for_its_share_is_named(drawn):
    asked = r"a\.txt' gives \d+ windows of 8 tokens, 9000 of the 18000 samples were asked of it; lower samples"
    with pytest.raises(SourceError, match=asked):
        drawn((1.0, 1.0), samples=18000)


def test_fewer_samples_than_texts_are_refused(drawn):
    with pytest.raises(SourceError, match=r"data\.calibration\.samples = 1 samples of 2 texts: expected at least one"):
        drawn(samples=1)

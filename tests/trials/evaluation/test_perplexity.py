"""Perplexity of held-out text: by token, by word, and window by window."""

import math

import numpy as np
import pytest
import torch

from nmlab.trials.data import Windows
from nmlab.trials.evaluation import Perplexity, measure_perplexity
from nmlab.trials.models import MaskedModel


def _windows(count, *, length=12):
    tokens = torch.randint(1, 500, (count, length + 1), generator=torch.Generator().manual_seed(0))
    return Windows(tokens, torch.arange(1, count + 1), "digest")


def test_every_window_is_measured_alone(random_model, freeze):
    module, windows = random_model("llama"), _windows(5)
    measured = measure_perplexity(MaskedModel(freeze(module)), windows, batch_size=2)
    for window, total in zip(windows.tokens, measured.loss_sum, strict=True):
        with torch.no_grad():
            alone = float(module(input_ids=window[None], labels=window[None]).loss) * 12
        assert total == pytest.approx(alone, rel=1e-5)
    assert measured.tokens.tolist() == [12] * 5
    assert measured.words.tolist() == [1, 2, 3, 4, 5]
    assert (measured.loss_sum.dtype, measured.tokens.dtype, measured.words.dtype) == (np.float64, np.int64, np.int64)


@pytest.mark.parametrize("batch_size", [1, 3, 5, 100])
def test_the_batch_size_sets_the_speed_alone(random_model, freeze, batch_size):
    model, windows = MaskedModel(freeze(random_model("llama"))), _windows(5)
    expected = measure_perplexity(model, windows, batch_size=2).loss_sum
    np.testing.assert_allclose(measure_perplexity(model, windows, batch_size=batch_size).loss_sum, expected, rtol=1e-6)


def test_a_model_that_knows_nothing_is_as_perplexed_as_its_vocabulary_is_large(random_model, freeze):
    module = random_model("llama")
    module.lm_head.weight.data.zero_()
    measured = measure_perplexity(MaskedModel(freeze(module)), _windows(4), batch_size=4)
    assert measured.per_token == pytest.approx(512, rel=1e-5)
    assert measured.per_word == pytest.approx(512 ** (4 * 12 / 10), rel=1e-4)


def _perplexity(nats):
    return Perplexity(np.array([nats, nats]), np.array([1, 1]), np.array([1, 0]))


def test_both_perplexities_weigh_windows_by_their_counts():
    measured = Perplexity(np.array([3.0, 5.0]), np.array([1, 3]), np.array([0, 2]))
    assert measured.per_token == pytest.approx(math.exp(8 / 4))
    assert measured.per_word == pytest.approx(math.exp(8 / 2))


def test_too_large_values_are_infinite_and_nan_stays_nan():
    assert _perplexity(699.0).per_token == pytest.approx(math.exp(699.0))
    assert _perplexity(701.0).per_token == math.inf
    assert _perplexity(math.inf).per_token == math.inf
    assert math.isnan(_perplexity(math.nan).per_token)

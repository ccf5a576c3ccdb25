"""Dry runs: their counts against real tensors and known numbers."""

from contextvars import ContextVar
from functools import partial

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from nmlab.trials.masks.entropic import entropic_topn
from nmlab.trials.methods.susi.maths import relaxed_mask
from nmlab.trials.models import ModelSource
from nmlab.trials.sizing.dry_run import FakeTensorModel

VOCABULARY, HIDDEN, BLOCKS = 4096, 32, 3


def llama():
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=64,
        num_hidden_layers=BLOCKS,
        num_attention_heads=2,
        tie_word_embeddings=False,
    )
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


@pytest.fixture(scope="module")
def model():
    return FakeTensorModel.of(llama)


def test_flops_are_two_a_weight_and_token(model):
    attention = 4 * HIDDEN * HIDDEN + 3 * HIDDEN * 64
    matrices = 2 * 4 * 16 * (BLOCKS * attention + HIDDEN * VOCABULARY)
    scores = BLOCKS * 2 * 2 * 4 * 16 * 16 * HIDDEN  # queries with keys, shares with values
    assert model.forward(batch=4, length=16).flops == pytest.approx(matrices + scores, rel=0.01)


def test_where_the_vocabulary_is_large_logits_are_what_counts(model):
    """Logits, their float32 copy without the last position, and log-probabilities; losses are small beside them."""
    logits = 4 * 4 * 16 * VOCABULARY
    assert 2 * logits < model.forward(batch=4, length=16).peak_bytes < 3.3 * logits


def test_a_divergence_takes_the_predictions_of_the_dense_model_besides(model):
    """At its peak: the dense model's, logits, log-probabilities, and three tensors as large of the divergence."""
    logits = 4 * 4 * 16 * VOCABULARY
    size = {"batch": 4, "length": 16}
    assert 4 * logits < model.forward(**size, distills=True).peak_bytes < 6.3 * logits
    assert model.forward(**size, distills=True).flops == model.forward(**size).flops


def test_an_evaluation_needs_less_than_a_step_because_windows_are_taken_one_by_one(model):
    size = {"batch": 8, "length": 16}
    assert model.evaluation(**size).peak_bytes < model.forward(**size).peak_bytes


def test_memory_grows_with_the_batch_and_a_backward_needs_more(model):
    def weights():
        return {"lm_head.weight": torch.empty(VOCABULARY, HIDDEN, requires_grad=True)}

    one, two = (model.forward(batch=batch, length=16) for batch in (8, 16))
    assert two.peak_bytes == pytest.approx(2 * one.peak_bytes, rel=0.1)
    backward = model.backward(weights, batch=8, length=16)
    assert backward.peak_bytes > one.peak_bytes
    assert backward.flops == one.flops + 2 * 8 * 16 * HIDDEN * VOCABULARY  # the gradient of the head alone


def test_a_backward_of_all_weights_holds_their_gradients(model):
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in llama().named_parameters() if "layers" in name}
    total = 4 * sum(shape.numel() for shape in shapes.values())

    def weights():
        return {name: torch.empty(shape, requires_grad=True) for name, shape in shapes.items()}

    peak = model.backward(weights, batch=1, length=2).peak_bytes
    assert 2 * total < peak < 2 * total + 40 * 4 * VOCABULARY * 2


def test_the_weights_themselves_do_not_count():
    model = FakeTensorModel(ModelSource(source="builtin:tiny"))
    assert model.forward(batch=1, length=2).peak_bytes < 100_000


def _soft_masks():
    def susi(logits_GM, *, layers, exclude_argmax=False):
        own = {"tau": 0.5, "lam": 1.0, "n": 2, "exclude_argmax": exclude_argmax}
        return relaxed_mask(logits_GM, torch.empty_like(logits_GM), layers=layers, **own)

    excluding = partial(susi, exclude_argmax=True)
    return {"susi": susi, "susi, excluding": excluding, "soft_topn": partial(entropic_topn, tau=0.5, n=2)}


@pytest.mark.parametrize("layers", [(), (80_000, 51_072), (65_536, 65_536)])
@pytest.mark.parametrize("name", _soft_masks())
def test_two_chunks_of_each_size_count_as_all_of_them(model, monkeypatch, name, layers):
    """The 131,072 groups of 4 are eight chunks of 15,000 and a rest, cut anew in each layer."""

    def weights():
        logits_GM = torch.empty(VOCABULARY * HIDDEN, 4, requires_grad=True)
        mask_GM = _soft_masks()[name](logits_GM, layers=layers)
        return {"lm_head.weight": torch.empty(VOCABULARY, HIDDEN) * mask_GM[:, 0].view(VOCABULARY, HIDDEN)}

    short = model.backward(weights, batch=1, length=2)
    monkeypatch.setattr("nmlab.trials.sizing.dry_run.counts_repeats", ContextVar("never read"))
    whole = model.backward(weights, batch=1, length=2)
    assert (short.written_bytes, short.flops) == (whole.written_bytes, whole.flops)
    # The whole has one more split a tensor and layer, and a slice less for each size.
    assert short.calls == pytest.approx(whole.calls, rel=0.05)
    assert short.peak_bytes == pytest.approx(whole.peak_bytes, rel=0.01)

"""Rolling perplexity against two independent computations: one token at a time, and lm-evaluation-harness itself."""

import math
import re

import numpy as np
import pytest
import torch

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.data import Windows
from nmlab.trials.data.rolling import rolling_windows
from nmlab.trials.evaluation import measure_perplexity
from nmlab.trials.masks.topn import topn
from nmlab.trials.models import FrozenModel, MaskedModel, ModelSource

LENGTH = 32
DOCUMENTS = [
    " \n = Masks = \n \n A mask keeps 2 of every 4 weights , and drops the others . \n " * 3,
    "Return a list of the words in the string, using sep as the delimiter string.\n" * 4,
    "short",
]


@pytest.fixture(scope="module")
def tiny():
    return FrozenModel.load(ModelSource(source="builtin:tiny"))


@pytest.fixture(scope="module")
def masked(tiny):
    model = MaskedModel(tiny)
    draw = torch.Generator().manual_seed(0)
    layers = tiny.layers
    model.apply_masks(
        {at.name: topn(torch.rand(at.out_features, at.in_features, generator=draw), Pattern(2, 4)) for at in layers}
    )
    return model


def _measured(model, *, length=LENGTH, batch_size=4, documents=DOCUMENTS):
    tokens, words, predicted, _ = rolling_windows(documents, tokenizer=model.frozen.tokenizer, length=length)
    return measure_perplexity(model, Windows(tokens, words, "digest", predicted), batch_size=batch_size)


def _one_token_at_a_time(model, *, length):
    """Total nats and number of tokens: each token from a forward of its own over the context that it is due."""
    nats, count, prefix = 0.0, 0, model.frozen.tokenizer.eos_token_id
    for document in DOCUMENTS:
        tokens = [prefix, *model.frozen.tokenizer(document)["input_ids"]]
        for position in range(1, len(tokens)):
            number = (position - 1) // length
            begin = min(number * length, max(0, len(tokens) - 1 - length))
            logits = model.module(input_ids=torch.tensor([tokens[begin:position]])).logits[0, -1]
            nats -= float(torch.log_softmax(logits.double(), 0)[tokens[position]])
            count += 1
    return nats, count


@pytest.mark.parametrize("length", [7, LENGTH])
def test_both_perplexities_are_those_of_a_straightforward_computation(masked, length):
    with torch.no_grad():
        nats, tokens = _one_token_at_a_time(masked, length=length)
    words = sum(len(re.split(r"\s+", document)) for document in DOCUMENTS)
    measured = _measured(masked, length=length)
    assert (measured.tokens.sum(), measured.words.sum()) == (tokens, words)
    assert measured.per_token == pytest.approx(math.exp(nats / tokens), rel=1e-5)
    assert measured.per_word == pytest.approx(math.exp(nats / words), rel=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_the_batch_size_sets_the_speed_alone(masked, batch_size):
    expected = _measured(masked, batch_size=2).loss_sum
    np.testing.assert_allclose(_measured(masked, batch_size=batch_size).loss_sum, expected, rtol=1e-6)


def test_windows_may_be_as_long_as_the_model_reads(random_model, freeze):
    """OPT has learned positions: it has none for a token that is only predicted."""
    model = MaskedModel(freeze(random_model("opt", max_position_embeddings=16)))
    assert math.isfinite(_measured(model, length=16).per_token)


def test_bfloat16_agrees_with_float32_within_its_precision():
    models = [
        MaskedModel(FrozenModel.load(ModelSource(source="builtin:tiny", dtype=d))) for d in ("bfloat16", "float32")
    ]
    half, single = (_measured(model) for model in models)
    assert half.loss_sum.dtype == np.float64
    assert half.per_token == pytest.approx(single.per_token, rel=0.02)
    assert half.per_token != single.per_token


def _rolling_task(documents):
    """The harness's own wikitext task, without its detokenizer, on other documents."""
    import datasets

    return {
        "task": "rolling",
        "custom_dataset": lambda **_: {"test": datasets.Dataset.from_dict({"page": documents})},
        "output_type": "loglikelihood_rolling",
        "test_split": "test",
        "doc_to_text": "",
        "doc_to_target": "page",
        "metric_list": [{"metric": "word_perplexity"}],
        "metadata": {"version": 1.0},
    }


@pytest.mark.slow
@pytest.mark.lm_eval
@pytest.mark.parametrize("length", [LENGTH, 200])
def test_word_perplexity_is_that_of_the_harness(masked, length):
    lm_eval = pytest.importorskip("lm_eval", reason="needs the extra `tasks`")
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    harness = HFLM(pretrained=masked.module, tokenizer=masked.frozen.tokenizer, max_length=length, batch_size=3)
    found = lm_eval.simple_evaluate(
        harness, tasks=[_rolling_task(DOCUMENTS)], task_manager=TaskManager(include_defaults=False), bootstrap_iters=0
    )
    expected = found["results"]["rolling"]["word_perplexity,none"]
    assert _measured(masked, length=length).per_word == pytest.approx(expected, rel=1e-5)

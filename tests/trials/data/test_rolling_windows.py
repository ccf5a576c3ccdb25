"""Rolling windows: every token of every document predicted once, with as much context as the harness gives it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.data import TextSource, evaluation_windows
from nmlab.trials.data.rolling import rolling_windows

DOCUMENTS = ["The first document, short.", " \n = A title = \n and a body of some more words than that . \n ", "3rd."]


@pytest.fixture(scope="module")
def harness():
    """What the harness makes windows with."""
    return pytest.importorskip("lm_eval.utils", reason="needs the extra `tasks`")


@pytest.fixture(scope="module")
def begins_with_bos(tokenizer):
    """A tokenizer that puts a beginning-of-text token before every text, as Llama's does."""
    from tokenizers.processors import TemplateProcessing

    backend = tokenizer.backend_tokenizer.__class__.from_str(tokenizer.backend_tokenizer.to_str())
    backend.add_special_tokens(["<s>"])
    number = backend.token_to_id("<s>")
    backend.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", number)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="<|endoftext|>")


def _assert_like_the_harness(harness, rolling, tokens, *, prefix, length):
    made = harness.get_rolling_token_windows(tokens, prefix, max_seq_len=length, context_len=1)
    expected = [harness.make_disjoint_window(window) for window in made]
    assert len(rolling.tokens) == len(expected)
    for window, counts, (context, predicted) in zip(rolling.tokens, rolling.predicted, expected, strict=True):
        assert window[1:][counts].tolist() == predicted
        last = 1 + int(counts.nonzero().max())
        assert window[: last + 1].tolist() == [*context, *predicted]


@pytest.mark.slow
@pytest.mark.lm_eval
@settings(deadline=None, max_examples=60)
@given(words=st.lists(st.sampled_from(["mask", "the", "2:4", "日本", "\n"]), max_size=40), length=st.integers(1, 20))
def test_windows_are_those_of_the_harness(harness, tokenizer, words, length):
    document = " ".join(words)
    rolling = rolling_windows([document], tokenizer=tokenizer, length=length)
    tokens = tokenizer(document)["input_ids"]
    _assert_like_the_harness(harness, rolling, tokens, prefix=tokenizer.eos_token_id, length=length)


@pytest.mark.slow
@pytest.mark.lm_eval
@pytest.mark.parametrize("length", [1, 5, 64])
def test_a_tokenizer_with_a_first_token_keeps_it_as_in_the_harness(harness, begins_with_bos, length):
    prefix = begins_with_bos.bos_token_id
    for document in [*DOCUMENTS, "<s>It brings its own."]:
        tokens = begins_with_bos(document, add_special_tokens=not document.startswith("<s>"))["input_ids"]
        assert tokens[0] == prefix
        assert tokens.count(prefix) == 1
        rolling = rolling_windows([document], tokenizer=begins_with_bos, length=length)
        _assert_like_the_harness(harness, rolling, tokens, prefix=prefix, length=length)


@pytest.mark.parametrize("length", [1, 5, 64])
def test_documents_do_not_see_each_other(tokenizer, length):
    together = rolling_windows(DOCUMENTS, tokenizer=tokenizer, length=length)
    alone = [rolling_windows([document], tokenizer=tokenizer, length=length) for document in DOCUMENTS]
    for part in ("tokens", "words", "predicted"):
        assert torch.equal(getattr(together, part), torch.cat([getattr(one, part) for one in alone]))


@pytest.mark.parametrize("document", [*DOCUMENTS, "\tlead", "trail \n", "one"])
@pytest.mark.parametrize("length", [1, 4, 64])
def test_words_are_counted_as_the_harness_counts_them(tokenizer, document, length):
    import re

    rolling = rolling_windows([document], tokenizer=tokenizer, length=length)
    assert int(rolling.words.sum()) == len(re.split(r"\s+", document))


def test_the_last_window_reaches_back_for_context(tokenizer):
    tokens = tokenizer(DOCUMENTS[1])["input_ids"]
    length = len(tokens) - 3
    rolling = rolling_windows([DOCUMENTS[1]], tokenizer=tokenizer, length=length)
    assert rolling.predicted.sum(1).tolist() == [length, 3]
    assert rolling.tokens[1].tolist() == tokens[-length - 1 :]


def test_padding_after_a_short_document_does_not_count(tokenizer):
    tokens = tokenizer(DOCUMENTS[0])["input_ids"]
    rolling = rolling_windows([DOCUMENTS[0]], tokenizer=tokenizer, length=64)
    assert rolling.tokens.shape == (1, 65)
    assert rolling.predicted[0].tolist() == [True] * len(tokens) + [False] * (64 - len(tokens))


def test_a_tokenizer_without_a_first_token_is_refused(tokenizer):
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    with pytest.raises(SourceError, match="beginning-of-text or end-of-text"):
        rolling_windows(["text"], tokenizer=bare, length=8)


def test_a_text_source_gives_rolling_windows_up_to_a_limit(tmp_path, tokenizer):
    for number, document in enumerate(DOCUMENTS):
        (tmp_path / f"{number}.txt").write_text(document, encoding="utf-8")
    source = TextSource(str(tmp_path), part="evaluation")
    whole = evaluation_windows(source, tokenizer=tokenizer, sequence_length=8, windowing="rolling")
    some = evaluation_windows(source, tokenizer=tokenizer, sequence_length=8, windowing="rolling", limit=2)
    assert torch.equal(whole.tokens, rolling_windows(DOCUMENTS, tokenizer=tokenizer, length=8).tokens)
    assert torch.equal(some.tokens, whole.tokens[:2])
    assert torch.equal(some.predicted, whole.predicted[:2])

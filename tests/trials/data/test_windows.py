"""Windows of tokens: every token but the first predicted once, words counted once, fixed minibatches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.data import TextSource, calibration_batches, evaluation_windows


@pytest.fixture
def windows_of(tmp_path, tokenizer):
    def cut(documents, *, length, limit=None):
        for number, document in enumerate(documents):
            (tmp_path / f"{number:03d}.txt").write_text(document, encoding="utf-8")
        source = TextSource(str(tmp_path), part="evaluation")
        return evaluation_windows(source, tokenizer=tokenizer, sequence_length=length, limit=limit)

    return cut


def _stream(documents, tokenizer):
    return [token for text in documents for token in [*tokenizer(text)["input_ids"], tokenizer.eos_token_id]]


@pytest.mark.parametrize("length", [1, 3, 16])
def test_every_token_but_the_first_is_predicted_once(windows_of, tokenizer, length):
    documents = ["The first document, short.", "The second one is somewhat longer than the first.", "3rd."]
    windows = windows_of(documents, length=length)
    stream = _stream(documents, tokenizer)
    predicted = windows.tokens[:, 1:].flatten().tolist()
    assert predicted == stream[1 : 1 + (len(stream) - 1) // length * length]
    assert len(stream) - 1 - len(predicted) < length
    assert windows.tokens[1:, 0].tolist() == windows.tokens[:-1, -1].tolist()  # context is what came just before
    assert windows.tokens[0, 0] == stream[0]


def _words_by_hand(documents, tokenizer, *, predicted):
    """Count the words whose first letter is completed by one of the tokens 1..predicted, token by token."""
    counts = []
    for document in documents:
        encoded = tokenizer(document, return_offsets_mapping=True)
        begins = [i for i, c in enumerate(document) if not c.isspace() and (i == 0 or document[i - 1].isspace())]
        reached = 0
        for _, end in encoded["offset_mapping"]:
            here = [begin for begin in begins if reached <= begin < end]
            counts.append(len(here))
            reached = max(reached, end)
        counts.append(0)
    return counts[1 : predicted + 1]


@pytest.mark.parametrize("length", [1, 4, 9])
def test_words_are_counted_where_they_begin(windows_of, tokenizer, length):
    documents = [
        "two words",
        "naïve café – 日本語 🙂 end",
        "  spaces   and\ttabs\n\nlines ",
        "(punctuation), isn't-it?",
    ]
    windows = windows_of(documents, length=length)
    by_hand = _words_by_hand(documents, tokenizer, predicted=windows.tokens[:, 1:].numel())
    assert windows.words.tolist() == torch.tensor(by_hand).view(-1, length).sum(1).tolist()
    every = windows_of(documents, length=1)
    # All words but the first, which begins in the token that is context only.
    assert int(every.words.sum()) == sum(len(document.split()) for document in documents) - 1


@settings(max_examples=40, deadline=None)
@given(text=st.text(st.sampled_from("ab é🙂日\n\t .,'\u00a0\u2003"), min_size=5, max_size=60))
def test_no_word_is_lost_or_counted_twice(text, tokenizer, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "words.txt"
    path.write_text(f"<x {text}", encoding="utf-8", newline="")
    source = TextSource(str(path), part="evaluation")
    windows = evaluation_windows(source, tokenizer=tokenizer, sequence_length=1)
    assert int(windows.words.sum()) == len(path.read_text(encoding="utf-8").split()) - 1


def test_a_limit_takes_the_first_windows(windows_of):
    documents = ["a text that is long enough to give a few windows of four tokens each"]
    every, few = windows_of(documents, length=4), windows_of(documents, length=4, limit=2)
    assert len(every) > 2
    assert torch.equal(few.tokens, every.tokens[:2])
    assert torch.equal(few.words, every.words[:2])


def test_the_digest_is_of_the_text(windows_of):
    one = windows_of(["a text of a few words, and then some"], length=4)
    same = windows_of(["a text of a few words, and then some"], length=3)
    other = windows_of(["a text of a few words, and then more"], length=4)
    assert one.digest == same.digest != other.digest


def test_a_text_shorter_than_one_window_is_refused(windows_of):
    with pytest.raises(SourceError, match="shorter than one window of 500 tokens"):
        windows_of(["short"], length=500)


def _batches(text_file, tokenizer, **changes):
    asked = {"samples": 10, "sequence_length": 16, "batch_size": 4, "seed": 0, **changes}
    return calibration_batches(TextSource(str(text_file), part="calibration"), tokenizer=tokenizer, **asked)


def test_calibration_batches_depend_on_the_seed_alone(text_file, tokenizer):
    torch.manual_seed(1)
    first = torch.cat(_batches(text_file, tokenizer))
    torch.manual_seed(2)
    assert torch.equal(first, torch.cat(_batches(text_file, tokenizer)))
    assert not torch.equal(first, torch.cat(_batches(text_file, tokenizer, seed=1)))


def test_calibration_batches_have_the_sizes_asked_for(text_file, tokenizer):
    assert [tuple(batch.shape) for batch in _batches(text_file, tokenizer)] == [(4, 16), (4, 16), (2, 16)]


def test_calibration_windows_are_drawn_without_replacement_from_the_whole_text(tmp_path, tokenizer):
    """Asked for every window there is, each is given once, in another order."""
    path = tmp_path / "numbers.txt"
    path.write_text(" ".join(str(number) for number in range(300)))
    stream = _stream([path.read_text()], tokenizer)
    count = (len(stream) - 1) // 15
    drawn = torch.cat(_batches(path, tokenizer, samples=count)).tolist()
    every = [stream[15 * start : 15 * start + 16] for start in range(count)]
    assert sorted(drawn) == sorted(every)
    assert drawn != every


def test_the_error_for_a_short_text_says_how_many_samples_it_gives(tmp_path, tokenizer):
    path = tmp_path / "short.txt"
    path.write_text("a few words only, but more than one window of sixteen tokens, " * 3)
    gives = (len(_stream([path.read_text()], tokenizer)) - 1) // 15
    assert gives > 1
    with pytest.raises(SourceError, match=f"gives {gives} windows of 16 tokens, 1000 samples were asked"):
        _batches(path, tokenizer, samples=1000)
    assert sum(map(len, _batches(path, tokenizer, samples=gives))) == gives

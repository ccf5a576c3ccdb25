"""Evaluation text inside calibration text is found by content, exactly, at any offset."""

import json
import random

import pytest

from nmlab.trials.data import TextSource, evaluation_windows
from nmlab.trials.data.contamination import contamination, normalised
from nmlab.trials.models import ModelSource, locate
from nmlab.trials.models.frozen import read_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return read_tokenizer(locate(ModelSource(source="builtin:tiny")), ModelSource(source="builtin:tiny"))


def _text(seed, *, words=2000, kind="words") -> str:
    draw = random.Random(seed)
    if kind == "no spaces":
        return "".join(chr(draw.randrange(0x4E00, 0x9000)) for _ in range(words))
    return " ".join(f"word{draw.randrange(10_000)}" for _ in range(words))


def _found(windows, calibration) -> tuple[int, ...]:
    return contamination(windows, calibration=calibration).found


def _by_brute_force(windows, calibration) -> tuple[int, ...]:
    text = normalised(calibration)
    return tuple(n for n, window in enumerate(windows) if all(normalised([piece]) in text for piece in window))


@pytest.mark.parametrize("kind", ["words", "no spaces"])
@pytest.mark.parametrize("length", [56, 63, 64, 65, 300])
def test_windows_are_found_at_every_offset_and_others_are_not(kind, length):
    text = _text(0, kind=kind)
    inside = [[text[start : start + length]] for start in range(0, 1500, 37)]
    changed = [[piece[: length // 2] + "#" + piece[length // 2 + 1 :]] for (piece,) in inside]
    windows = [window for pair in zip(inside, changed, strict=True) for window in pair]
    found = _found(windows, [_text(1), text, _text(2)])
    assert found == _by_brute_force(windows, [_text(1), text, _text(2)])
    assert found == tuple(range(0, len(windows), 2))


def test_whitespace_and_borders_of_documents_do_not_matter():
    pieces = [_text(seed, words=20) for seed in range(30)]
    window = ["\n\n".join(pieces[3:6]).replace(" ", " \t\u00a0")]
    assert _found([window], pieces) == (0,)
    assert _found([window], ["  \n".join(pieces)]) == (0,)
    assert _found([window], pieces[:5]) == ()


def test_a_window_over_several_documents_is_found_wherever_they_stand():
    """Rows that are shuffled are the same text; one row that is missing makes another window."""
    rows = [_text(seed, words=12) for seed in range(30)]
    assert _found([rows[3:7]], rows[::-1]) == (0,)
    assert _found([rows[3:7]], [row for row in rows if row != rows[4]]) == ()


def test_the_search_goes_over_the_ends_of_its_blocks(monkeypatch):
    monkeypatch.setattr("nmlab.trials.data.contamination._BLOCK", 100)
    text = _text(0, words=300)
    windows = [[text[start : start + length]] for start in range(0, 1500, 7) for length in (55, 130, 420)]
    assert _found(windows, [text]) == tuple(range(len(windows)))


def test_text_that_repeats_itself_is_searched_exactly():
    windows = [["a" * 400 + "b"], ["a" * 300], ["ab" * 100], ["=" * 60]]
    assert _found(windows, ["a" * 100_000, "=" * 70]) == (1, 3)


def test_short_windows_count_only_in_a_run():
    """Headings that are documents occur in other articles too; short rows of one text follow each other."""
    articles = [_text(seed, words=60) for seed in range(20)]
    other = [_text(seed, words=60) for seed in range(100, 120)]
    headed = [part for article in articles for part in (["= Reception ="], [article])]
    assert _found(headed, [part for text in other for part in ("= Reception =", text)]) == ()
    rows = [[f"row {number} says {number**3}"] for number in range(50)]
    assert _found(rows, [row for (row,) in rows][::-1]) == tuple(range(50))
    assert contamination([["yes"], ["no"]], calibration=["yes", "no"]) == (0, ())


@pytest.mark.parametrize("windowing", ["joined", "rolling"])
def test_passages_are_the_text_that_a_window_predicts(tmp_path, tokenizer, windowing):
    documents = [_text(seed, words=40) for seed in range(5)]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"text": document}) for document in documents))
    windows = evaluation_windows(
        TextSource(str(path), part="evaluation"),
        tokenizer=tokenizer,
        sequence_length=32,
        windowing=windowing,
        passages=True,
    )
    assert len(windows.passages) == len(windows)
    together = "".join(piece for passages in windows.passages for piece in passages)
    assert "".join(documents).startswith(together if windowing == "rolling" else together[:0])
    assert all(piece in "|".join(documents) for passages in windows.passages for piece in passages)
    assert contamination(windows.passages, calibration=documents).share == 1
    assert contamination(windows.passages, calibration=[_text(9)]).share == 0


@pytest.mark.parametrize("windowing", ["joined", "rolling"])
def test_the_parts_of_the_built_in_text_are_apart(tokenizer, windowing):
    """From Python 3.12 on ``enum.property`` and ``types.DynamicClassAttribute`` share a sentence of 32 tokens."""
    from nmlab.trials.data.python_docs import documents

    def windows(length):
        text = TextSource("builtin:python-docs", part="evaluation")
        options = {"sequence_length": length, "windowing": windowing, "passages": True}
        return evaluation_windows(text, tokenizer=tokenizer, **options).passages

    short, long = windows(32), windows(128)
    assert len(contamination(short, calibration=documents("calibration")).found) <= 1
    assert contamination(long, calibration=documents("calibration")).found == ()
    assert contamination(long, calibration=documents("evaluation")).share == 1

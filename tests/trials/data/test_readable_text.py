"""Text that a tokenizer or a model cannot read is found beforehand, with the file and the row."""

import json
import shutil

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec
from nmlab.trials.data import TextSource
from nmlab.trials.data.readable import check_readable
from nmlab.trials.models import ModelSource
from nmlab.trials.models.sources import BUILTIN
from nmlab.trials.sizing.preflight import preflight

WORDS = {"one": 0, "two": 1, "three": 2, "four": 9}


def _words(unknown=None, drops=False):
    """Return a tokenizer of four words; without an unknown token it refuses others, or drops their letters."""
    if drops:
        model = models.BPE({"a": 0, "b": 1}, [])
    else:
        known = {**WORDS, **({unknown: 3} if unknown else {})}
        model = models.WordLevel(known, unk_token=unknown or "[none]")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=unknown)


@pytest.fixture
def lines(tmp_path):
    """Write rows as JSON lines, an empty line between the first two: lines(["one", "two"])."""

    def write(rows):
        path = tmp_path / "rows.jsonl"
        first, *rest = (json.dumps({"text": row}) for row in rows)
        path.write_text("\n".join([first, "", *rest]) + "\n")
        return TextSource(str(path), part="calibration")

    return write


def _told(text, tokenizer, rows=10):
    with pytest.raises(SourceError) as refused:
        check_readable(text, tokenizer=tokenizer, rows=rows)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_text_that_can_be_read_passes(lines):
    check_readable(lines(["one two", "three four"]), tokenizer=_words(), rows=10)


def test_an_id_beyond_the_embedding_is_named_with_its_row(lines):
    told = _told(lines(["one", "two", "one four"]), _words(), rows=5)
    assert "rows.jsonl' line 4: token 'four' has the id 9, but the model's embedding has 5 rows (ids 0 to 4)" in told


def test_so_is_one_that_is_only_put_between_documents(lines):
    tokenizer = _words()
    tokenizer.eos_token = "four"
    assert "the tokenizer's eos_token token 'four' has the id 9" in _told(lines(["one", "two"]), tokenizer, rows=5)


def test_text_that_the_tokenizer_refuses_is_named_with_its_row_and_reason(lines):
    told = _told(lines(["one", "two", "five"]), _words())
    assert "rows.jsonl' line 4: the tokenizer cannot read it (WordLevel error: Missing [UNK] token" in told


def test_text_of_which_nothing_is_left_is_named_with_its_row(lines):
    assert "line 3: the tokenizer makes no token of it" in _told(lines(["a b", "ж", "b"]), _words(drops=True))


def test_text_that_is_mostly_unknown_is_refused_and_single_unknown_words_are_not(lines):
    told = _told(lines(["one", "five six"]), _words(unknown="[UNK]"))
    assert "the tokenizer does not know 2 of its 3 tokens ('[UNK]'), the first in " in told
    assert "rows.jsonl' line 3; give the tokenizer of the model" in told
    check_readable(lines(["one two", "five", "three"]), tokenizer=_words(unknown="[UNK]"), rows=10)


def test_rows_of_white_space_are_nothing_to_refuse(lines):
    check_readable(lines(["one", "  ", "two"]), tokenizer=_words(), rows=10)


def test_of_a_folder_the_file_is_named_and_of_a_slice_the_line(tmp_path):
    (tmp_path / "a.txt").write_text("one two\n")
    (tmp_path / "b.txt").write_text("one\nfour")
    assert "b.txt' line 1: token 'four'" in _told(TextSource(str(tmp_path), part="calibration"), _words(), rows=5)
    sliced = TextSource(f"{tmp_path / 'b.txt'}[40%:]", part="calibration")
    assert "b.txt' line 1: token 'four'" in _told(sliced, _words(), rows=5)


def test_a_plan_refuses_a_tokenizer_that_is_larger_than_the_model(tmp_path, text_file):
    folder = tmp_path / "model"
    shutil.copytree(BUILTIN["builtin:tiny"], folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 100}))
    calibration = CalibrationSpec(source=f"{text_file}[:50%]", samples=2, sequence_length=16)
    evaluation = EvaluationSpec(source=f"{text_file}[50%:]", sequence_length=16)
    with pytest.raises(SourceError, match=r"text\.txt' line 1: token .* the model's embedding has 100 rows"):
        preflight(
            ModelSource(source=str(folder)), patterns=[Pattern(2, 4)], calibration=calibration, evaluation=evaluation
        )

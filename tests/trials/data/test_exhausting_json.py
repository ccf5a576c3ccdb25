"""JSON that exhausts a reader, by depth or by digits, is refused with file and line."""

import pytest

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.data.formats import _parsed
from nmlab.trials.evaluation.questions import local_task
from nmlab.trials.models.stored import _read, quantisation

# What Python's reader refuses is deeper than some 1000 in 3.11, 1500 in 3.12 and 10,000 in 3.13.
DEPTHS = (400, 1400, 9000, 100_000)
DEEP = '{"question": ' + "[" * 100_000 + "]" * 100_000 + "}"
LONG = '{"question": ' + "9" * 5000 + "}"


@pytest.mark.parametrize(("line", "message"), [(DEEP, "nested too deeply"), (LONG, "a number")], ids=["deep", "long"])
def test_a_row_that_exhausts_the_reader_is_named(tmp_path, line, message):
    path = tmp_path / "quiz.jsonl"
    path.write_text(f"\n{line}\n")
    with pytest.raises(SourceError, match="line 2") as raised:
        local_task(str(path)).rows()
    assert message in str(raised.value)
    with pytest.raises(SourceError, match=f"^row 7 .*{message}|^row 7 .*number"):
        _parsed(line, where="row 7")


@pytest.mark.parametrize("text", [DEEP, LONG, "[]", "\xff"], ids=["deep", "long", "list", "letter"])
def test_a_configuration_that_cannot_be_read_describes_nothing(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    assert _read(tmp_path / "config.json") == {}


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_question_of_any_depth_is_refused_in_one_short_line(tmp_path, depth):
    path = tmp_path / "quiz.jsonl"
    path.write_text('{"choices": ["a", "b"], "label": 0, "question": ' + "[" * depth + "]" * depth + "}")
    with pytest.raises(SourceError, match="line 1") as raised:
        local_task(str(path)).rows()
    assert len(str(raised.value)) < len(str(path)) + 100


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_configuration_of_any_depth_is_looked_through(tmp_path, depth):
    (tmp_path / "config.json").write_text('{"a": ' * depth + '{"quantization_config": {"bits": 4}}' + "}" * depth)
    assert quantisation(tmp_path) in ("4 bits", "")
    (tmp_path / "config.json").write_text('{"a": ' * depth + "{}" + "}" * depth)
    assert quantisation(tmp_path) == ""

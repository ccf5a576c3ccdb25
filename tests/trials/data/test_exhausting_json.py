"""JSON that exhausts a reader, by depth or by digits, is refused with file and line."""

import pytest

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.data.formats import _parsed
from nmlab.trials.evaluation.questions import local_task
from nmlab.trials.models.stored import _read

DEEP = '{"question": ' + "[" * 100_000 + "]" * 100_000 + "}"
LONG = '{"question": ' + "9" * 5000 + "}"


@pytest.mark.parametrize(("line", "message"), [(DEEP, "nested too deeply"), (LONG, "a number")])
def test_a_row_that_exhausts_the_reader_is_named(tmp_path, line, message):
    path = tmp_path / "quiz.jsonl"
    path.write_text(f"\n{line}\n")
    with pytest.raises(SourceError, match="line 2") as raised:
        local_task(str(path)).rows()
    assert message in str(raised.value)
    with pytest.raises(SourceError, match=f"^row 7 .*{message}|^row 7 .*number"):
        _parsed(line, where="row 7")


@pytest.mark.parametrize("text", [DEEP, LONG, "[]", "\xff"])
def test_a_configuration_that_cannot_be_read_describes_nothing(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    assert _read(tmp_path / "config.json") == {}

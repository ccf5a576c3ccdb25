"""Values that are not text are refused with file, place and type; nothing is converted to text."""

import gzip
import json

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.data import TextSource, read_documents

VALUES = [
    (None, "null"),
    (3, "the number 3"),
    (0.5, "the number 0.5"),
    (True, "the boolean true"),
    (["a", "b"], "a list of 2"),
    ([], "a list of 0"),
    ([{"role": "user", "content": "hi"}], "a chat or list of 1 objects"),
    ({"en": "hi"}, "an object with the keys en"),
]


def _read(source, **options) -> list[str]:
    return read_documents(TextSource(str(source), part="calibration", **options))


def _refusal(source, **options) -> str:
    with pytest.raises(SourceError) as refused:
        _read(source, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(("value", "message"), VALUES)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_json_that_is_no_text(tmp_path, value, message, name):
    rows = [{"text": "fine"}, {"text": value}]
    path = tmp_path / name
    path.write_text(json.dumps(rows) if name == "a.json" else "\n".join(map(json.dumps, rows)))
    place = "row" if name == "a.json" else "line"
    assert _refusal(path) == f"data '{path}' {place} 2: column 'text' holds {message}, expected text"


@pytest.mark.parametrize(("value", "message"), VALUES)
def test_columns_of_tables_that_are_no_text(tmp_path, monkeypatch, value, message):
    """A null among texts, and columns of any other type, from files, from saved data sets and from the hub."""
    column = ["fine", None] if value is None else [value, value]
    row = 2 if value is None else 1
    table = pa.table({"text": column})
    parquet.write_table(table, tmp_path / "a.parquet")
    expected = f"row {row}: column 'text' holds {message}, expected text"
    assert _refusal(tmp_path / "a.parquet") == f"data '{tmp_path}/a.parquet' {expected}"
    rows = datasets.Dataset(table)
    rows.save_to_disk(str(tmp_path / "saved"))
    assert expected in _refusal(tmp_path / "saved")
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **options: rows)
    assert _refusal("some/hub-id") == f"data 'some/hub-id' {expected}"


def test_a_column_that_is_there_is_never_called_unknown(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": 3, "test": "x"}')
    assert "unknown" not in _refusal(tmp_path / "a.jsonl")
    assert "did you mean" not in _refusal(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n{"txt": "y"}')
    assert "line 2: unknown text column 'text'; did you mean 'txt'? known: txt" in _refusal(tmp_path / "a.jsonl")


@pytest.mark.parametrize(
    ("name", "content", "documents"),
    [
        ("a.txt", "text", ["text"]),
        ("a.TXT", "text", ["text"]),
        ("a.jsonl", '{"text": "one"}\n\ufeff{"text": "\ufefftwo"}', ["one", "two"]),
        ("a.json", '[{"text": "one"}]', ["one"]),
        ("a.csv", "text,n\none,1", ["one"]),
        ("a.tsv", "text\tn\none\t1", ["one"]),
    ],
)
def test_a_byte_order_mark_is_not_text(tmp_path, name, content, documents):
    path = tmp_path / name
    path.write_bytes(content.encode("utf-8-sig"))
    assert _read(path) == documents
    packed = tmp_path / f"{name}.gz"
    packed.write_bytes(gzip.compress(content.encode("utf-8-sig")))
    assert _read(packed) == documents


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("text".encode("utf-16"), "is UTF-16, expected UTF-8; convert it: iconv -f UTF-16 -t UTF-8"),
        (b"\xfe\xff" + "text".encode("utf-16-be"), "is UTF-16"),
        ("text".encode("utf-32"), "is UTF-32"),
        ("a\nt".encode("utf-16-le"), "holds a zero byte in line 1"),
        (b"one\ntwo\x00", "holds a zero byte in line 2"),
        ("one\ntwo\ncafé".encode("latin-1"), "could not be read as UTF-8 text: byte 0xe9 in line 3, at byte 11"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_other_encodings_are_refused_with_the_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert f"data '{tmp_path}/{name}' {message}" in _refusal(tmp_path / name)


@pytest.mark.parametrize("text", ['"a\\ud800"', '"a\\udc00b"'])
def test_half_a_surrogate_pair_is_refused_with_the_row(tmp_path, text):
    (tmp_path / "a.jsonl").write_text('{"text": "fine \\ud83d\\ude00"}\n{"text": ' + text + "}")
    message = _refusal(tmp_path / "a.jsonl")
    assert "a.jsonl' line 2: column 'text' holds half a surrogate pair, \\ud" in message
    assert "at character 2" in message


@pytest.mark.parametrize(
    "content",
    [b"\x1f\x8b no gzip", gzip.compress(b"text" * 99, mtime=0)[:-9], b""],
    ids=["no archive", "cut short", "empty"],
)
def test_damaged_compression_is_refused(tmp_path, content):
    (tmp_path / "a.txt.gz").write_bytes(content)
    assert any(message in _refusal(tmp_path / "a.txt.gz") for message in ("could not be read: ", "holds no text"))


def test_rows_of_a_table_that_do_not_fit_its_header_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("text,n\none,1\ntwo, with a comma,2\n")
    assert "row 2 has 3 fields, expected 2" in _refusal(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text('text\n"open')
    assert "could not be read after row 0" in _refusal(tmp_path / "a.csv")


def test_line_ends_of_windows_are_line_feeds(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\rthree\n")
    assert _read(tmp_path / "a.txt") == ["one\ntwo\nthree\n"]

"""Folders are read completely or refused with what to write instead."""

import gzip
import json

import datasets
import pyarrow as pa
import pytest
from pyarrow import parquet

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.data import TextSource, read_documents
from nmlab.trials.data.sources import files_left_out

ROW = '{"text": "a row"}\n'


def _read(source, **options) -> list[str]:
    return read_documents(TextSource(str(source), part="calibration", **options))


@pytest.fixture
def folder(tmp_path):
    """A folder with these files: folder({"a.txt": "text"})."""

    def write(files):
        for name, content in files.items():
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path / "data"

    return write


@pytest.mark.parametrize(
    ("files", "documents", "left_out"),
    [
        ({"README.md": "about", "a.txt": "text"}, ["text"], ["README.md"]),
        ({"README.md": "about", "LICENSE": "free", "data.jsonl": ROW}, ["a row"], ["LICENSE", "README.md"]),
        (
            {"readme.txt": "about", "b/train.JSONL": ROW, "b/LICENCE.txt": "free"},
            ["a row"],
            ["b/LICENCE.txt", "readme.txt"],
        ),
        ({"README": "about", "LICENSE-MIT.md": "free", "NOTICE": "n", "a.md": "text"}, ["text"], None),
        ({".hidden.txt": "no", ".git/config.txt": "no", "._a.txt": "no", "a.txt": "text"}, ["text"], []),
        ({".gitattributes": "x", "part-0.ndjson": ROW, "part-1.jsonl": ROW}, ["a row"] * 2, []),
        ({"b/z.txt": "second", "c.txt": "third", "a.txt": "first"}, ["first", "second", "third"], []),
        ({"reading.txt": "one", "licenses.txt": "two", "notices-of-war.txt": "three"}, ["two", "three", "one"], []),
        ({"a.txt": "text", "empty.txt": ""}, ["text"], []),
        ({"a.jsonl.gz": gzip.compress(ROW.encode()), "b.jsonl.gz": gzip.compress(ROW.encode())}, ["a row"] * 2, []),
        ({"a.csv": 'text,n\n"one, two",1\n,2\nNA,3\n'}, ["one, two", "NA"], []),
        ({"a.json": json.dumps([{"text": "one"}, {"text": "two"}])}, ["one", "two"], []),
        ({"a.json": ROW + ROW}, ["a row"] * 2, []),
    ],
)
def test_data_is_read_and_what_is_about_it_is_left_out(folder, files, documents, left_out):
    path = folder(files)
    assert _read(path) == documents
    if left_out is not None:
        message = files_left_out(TextSource(str(path), part="calibration"))
        assert sorted(message) == sorted(str(path / name) for name in left_out)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"a.txt": "t", "b.jsonl": ROW},
            ["2 kinds of files: 1 plain text (a.txt), 1 JSON lines (b.jsonl)", "**/*.jsonl'"],
        ),
        (
            {"a.jsonl": ROW, "a.jsonl.gz": gzip.compress(ROW.encode())},
            ["2 kinds", "JSON lines in .gz", "**/*.jsonl.gz'"],
        ),
        ({"a.txt": "t", "d.json": "[]"}, ["1 plain text (a.txt), 1 JSON (d.json)", "choose with '"]),
        ({"a.txt": "t", "below/b.xlsx": "t"}, ["holds below/b.xlsx, which is not read as text; choose files with '"]),
        ({"a.txt": "t", "data": "t"}, ["holds data, which is not read as text"]),
        (
            {"README.md": "t", "part.parquet.zst": "t"},
            ["holds part.parquet.zst, which is not read as text; expected .txt"],
        ),
        ({"README.md": "t", "LICENSE": "t"}, ["holds LICENSE, README.md and no data; name the file itself"]),
        ({".a.txt": "t"}, ["holds no .txt"]),
        ({"a.txt": ""}, ["holds no text"]),
        ({"a.jsonl": "\n"}, ["holds no text"]),
    ],
)
def test_what_cannot_be_read_completely_is_refused(folder, files, message):
    path = folder(files)
    with pytest.raises(SourceError) as refused:
        _read(path)
    assert all(part in str(refused.value) for part in (*message, str(path)))
    assert "\n" not in str(refused.value)


def test_the_pattern_that_a_refusal_proposes_is_read(folder):
    path = folder({"a.txt": "one", "b.jsonl": ROW, "below/deep/c.txt": "two", "below/README.txt": "about"})
    assert _read(f"{path}/**/*.txt") == ["one", "two"]
    assert _read(f"{path}/**/*.jsonl") == ["a row"]
    assert _read(f"{path}/*.txt") == ["one"]
    assert "".join(_read(f"{path}/**/*.txt[:50%]")) == "one"
    assert _read(f"{path}/*/README.txt") == ["about"]
    with pytest.raises(SourceError, match="matches no file"):
        _read(f"{path}/*.csv")
    with pytest.raises(SourceError, match="2 kinds of files"):
        _read(f"{path}/*")


def test_links_are_followed_and_circles_refused(folder, tmp_path):
    path = folder({"a.txt": "one"})
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.txt").write_text("two")
    (path / "linked").symlink_to(tmp_path / "elsewhere")
    assert _read(path) == ["one", "two"]
    (tmp_path / "elsewhere" / "up").symlink_to(path)
    with pytest.raises(SourceError, match="is a link to a folder that holds it"):
        _read(path)
    (tmp_path / "elsewhere" / "up").unlink()
    (path / "gone.txt").symlink_to(tmp_path / "nowhere.txt")
    with pytest.raises(SourceError, match=r"gone\.txt' could not be read: No such file"):
        _read(path)


def test_tables_of_arrow_are_read(folder):
    path = folder({"README.md": "about"})
    table = pa.table({"text": ["one", "two"], "n": [1, 2], "chat": [[{"role": "user"}], []]})
    for name in ("train-0", "train-1"):
        parquet.write_table(table, path / f"{name}.parquet")
    assert _read(path) == ["one", "two"] * 2
    with pytest.raises(SourceError, match=r"train-0\.parquet' row 1: column 'n' holds the number 1, expected text"):
        _read(path, column="n")
    with pytest.raises(SourceError, match="unknown text column 'txt'; did you mean 'text'"):
        _read(path, column="txt")
    (path / "train-1.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(SourceError, match=r"train-1\.parquet' could not be read: "):
        _read(path)


def test_a_data_set_that_datasets_saved_is_read(tmp_path):
    rows = datasets.Dataset.from_dict({"text": ["one", "two"]})
    rows.save_to_disk(str(tmp_path / "saved"))
    datasets.DatasetDict(train=rows, test=rows.select([1])).save_to_disk(str(tmp_path / "splits"))
    assert _read(tmp_path / "saved") == ["one", "two"]
    assert _read(tmp_path / "saved" / "*.arrow") == ["one", "two"]
    assert _read(tmp_path / "splits", split="test") == ["two"]
    with pytest.raises(SourceError, match="holds the splits train, test; choose one with split"):
        _read(tmp_path / "splits")
    with pytest.raises(SourceError, match="unknown split 'tst'; did you mean 'test'"):
        _read(tmp_path / "splits", split="tst")


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_split_of_what_has_none_is_refused(folder, kind):
    path = folder({"a.txt": "text"})
    with pytest.raises(SourceError, match=r"lies here and has no split 'test'; drop the split"):
        _read(path if kind == "folder" else path / "a.txt", split="test")

"""Where text comes from: files, folders, JSON lines, slices, and messages that say what to do."""

import json
import socket

import datasets
import huggingface_hub
import pytest

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.data import TextSource, read_documents
from nmlab.trials.data.sources import documents_digest
from nmlab.trials.models import ModelSource, locate


def _read(source, **options) -> list[str]:
    return read_documents(TextSource(str(source), part="calibration", **options))


def test_a_text_file_is_one_document(tmp_path):
    (tmp_path / "a.txt").write_text("naïve café\nsecond line", encoding="utf-8")
    assert _read(tmp_path / "a.txt") == ["naïve café\nsecond line"]


def test_a_folder_gives_its_text_files_in_order_of_their_names(tmp_path):
    (tmp_path / "below").mkdir()
    for name, text in [("b.md", "second"), ("a.txt", "first"), ("below/c.text", "third")]:
        (tmp_path / name).write_text(text)
    assert _read(tmp_path) == ["first", "second", "third"]


@pytest.mark.parametrize("column", [None, "content"])
def test_json_lines_give_one_document_a_line(tmp_path, column):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({column or "text": text, "id": 1}) + "\n\n" for text in ["one", "two\nlines"]))
    assert _read(path, column=column) == ["one", "two\nlines"]


def test_json_lines_end_at_line_feeds_only(tmp_path):
    """Line separators may stand unescaped in a JSON string, and do in text from the web."""
    documents = ["a\u2028b", "c\x85d\x0be", "f\u2029"]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(f'{{"text": "{text}"}}' for text in ["a\u2028b", "f\u2029"]), encoding="utf-8")
    assert _read(path) == [documents[0], documents[2]]
    path.write_text("\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in documents), encoding="utf-8")
    assert _read(path) == documents


@pytest.mark.parametrize(
    ("lines", "column", "message"),
    [
        ('{"txet": "a"}', None, ["line 1", "'text'", "did you mean 'txet'"]),
        ('{"text": "a"}\n{"text": 3}', None, ["line 2: column 'text' holds the number 3, expected text"]),
        ('{"text": "a"}\n["text"]', None, ["line 2 holds a list of 1, expected an object such as"]),
        ('{"text": "a", "body": "b"}', "bdy", ["'bdy'", "did you mean 'body'", "known: body, text"]),
        ('{"text": "a"}\n{"text": ', None, ["line 2", "is not JSON"]),
        ("\n\n", None, ["holds no text"]),
    ],
)
def test_a_bad_json_line_is_named(tmp_path, lines, column, message):
    path = tmp_path / "a.jsonl"
    path.write_text(lines)
    with pytest.raises(SourceError) as refused:
        _read(path, column=column)
    assert str(path) in str(refused.value)
    assert all(part in str(refused.value) for part in message)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.txt", None, "does not exist"),
        ("missing.jsonl[:80%]", None, "does not exist"),
        ("./missing", None, "does not exist"),
        ("blank.txt", b" \n ", "holds no text"),
        ("latin.txt", "café".encode("latin-1"), "UTF-8"),
        ("table.csv", b"a,b", "unknown text column 'text'; known: a, b"),
        ("table.xlsx", b"a,b", "expected .arrow, .csv, .json, .jsonl, .md"),
        ("text", b"text", "expected .arrow"),
        ("text.txt.zst", b"text", "decompress it first"),
        ("text.txt[80%:20%]", b"text", "from lower to higher"),
        ("text.txt[:120%]", b"text", "from lower to higher"),
        ("text.txt[:1%]", b"text", "holds no text"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, monkeypatch, name, content, message):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name.partition("[")[0]).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        _read(name)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"holds no \.txt, \.md, \.text, \.jsonl, .* file"):
        _read(tmp_path)


@pytest.mark.parametrize("cut", [1, 33, 50, 80, 99])
def test_two_slices_are_disjoint_and_complete(tmp_path, cut):
    for number in range(7):
        (tmp_path / f"{number}.txt").write_text(f"document {number} " * (number + 1))
    whole = _read(tmp_path)
    below, above = _read(f"{tmp_path}[:{cut}%]"), _read(f"{tmp_path}[{cut}%:]")
    assert "".join(below) + "".join(above) == "".join(whole)
    assert len("".join(below)) == len("".join(whole)) * cut // 100


def test_the_digest_sees_where_documents_end():
    assert documents_digest(["ab", "c"]) != documents_digest(["a", "bc"])
    assert documents_digest(["ab", "c"]) == documents_digest(["ab", "c"])


def test_an_unknown_built_in_corpus_gives_the_nearest_name():
    with pytest.raises(SourceError, match="did you mean 'builtin:python-docs'"):
        _read("builtin:python-doc")


def test_chosen_files_of_a_dataset(tmp_path, monkeypatch):
    """A folder stands in for a hub id: `datasets` takes files of both alike."""
    monkeypatch.chdir(tmp_path)
    for folder, text in (("en/part-0", "first"), ("en/part-1", "second"), ("de/part-0", "anders")):
        file = tmp_path / "corpus" / f"{folder}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"text": text}) + "\n")
    assert _read("corpus:en/part-1.jsonl") == ["second"]
    assert _read("corpus:en/part-*.jsonl") == ["first", "second"]
    with pytest.raises(SourceError, match=r"data 'corpus:fr/part-0\.jsonl' .* could not be fetched as a dataset"):
        _read("corpus:fr/part-0.jsonl")


def test_a_hub_id_fails_without_asking_the_network(tmp_path, monkeypatch):
    def asked(*where, **options):
        pytest.fail("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    # What HF_HUB_OFFLINE=1 and HF_DATASETS_OFFLINE=1 set when the libraries are imported.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setattr(datasets.config, name, True)
    with pytest.raises(SourceError, match="'nobody/no-such-text' is not a file here and could not be fetched"):
        _read("nobody/no-such-text")
    with pytest.raises(SourceError, match="'nobody/no-such-model' is not a folder here and could not be fetched"):
        locate(ModelSource(source="nobody/no-such-model"))

"""The cache on disk: a value is computed once for each state, and again where its file is damaged."""

import sysconfig
from pathlib import Path

import pytest

from nmlab.trials.data import python_docs
from nmlab.trials.data.disk_cache import get_or_compute


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "nmlab"


def never():
    raise AssertionError("computed again")


def test_a_value_is_computed_once_for_each_state(folder):
    assert get_or_compute("value", state="a", compute=lambda: {"x": [1, "é\udc80"]}) == {"x": [1, "é\udc80"]}
    assert get_or_compute("value", state="a", compute=never) == {"x": [1, "é\udc80"]}
    assert get_or_compute("value", state="b", compute=lambda: 2) == 2
    assert sorted(path.name for path in folder.iterdir()) == ["value-a.checked.json", "value-b.checked.json"]


@pytest.mark.parametrize("damage", [b"", b'{"x": [1', b"\xff\xfe"])
def test_a_damaged_file_is_replaced(folder, damage):
    get_or_compute("value", state="a", compute=lambda: 1)
    (folder / "value-a.checked.json").write_bytes(damage)
    assert get_or_compute("value", state="a", compute=lambda: 3) == 3
    assert get_or_compute("value", state="a", compute=never) == 3


def test_a_folder_that_cannot_be_made_keeps_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    values = iter([1, 2])
    assert [get_or_compute("value", state="a", compute=values.__next__) for _ in range(2)] == [1, 2]


def test_a_user_without_a_home_keeps_nothing(monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("nmlab.trials.data.disk_cache.Path.home", nobody)
    values = iter([1, 2])
    assert [get_or_compute("value", state="a", compute=values.__next__) for _ in range(2)] == [1, 2]


def test_the_corpus_of_the_standard_library_is_parsed_once_a_machine(folder, monkeypatch):
    """A few of its modules stand for all, which take two seconds."""
    few = python_docs._sources(Path(sysconfig.get_path("stdlib")))[:20]
    monkeypatch.setattr(python_docs, "_library", lambda: few)
    fresh = python_docs._corpus.__wrapped__()
    assert fresh == python_docs._parsed(few)
    assert sum(map(len, fresh.values())) > 10
    monkeypatch.setattr(python_docs, "_docstrings", lambda path: never())
    assert python_docs._corpus.__wrapped__() == fresh


def test_another_source_is_another_state(tmp_path):
    source = tmp_path / "module.py"
    source.write_text('"""One."""')
    before = python_docs.state_of([("module", source)], code=Path(__file__))
    assert python_docs.state_of([("module", source)], code=Path(__file__)) == before
    source.write_text('"""Other."""')
    assert python_docs.state_of([("module", source)], code=Path(__file__)) != before

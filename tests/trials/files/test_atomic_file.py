"""Files that are whole or not there."""

import threading

import pytest

from nmlab.trials.files.atomic_file import atomic_file


def test_a_file_is_in_its_place_when_the_block_ends_and_not_before(tmp_path):
    path = tmp_path / "status.json"
    with atomic_file(path) as partial:
        partial.write_text("new")
        assert (partial.parent, partial.suffix, path.exists()) == (tmp_path, ".partial", False)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_what_was_there_and_nothing_beside_it(tmp_path):
    path = tmp_path / "status.json"
    path.write_text("old")

    def write_half():
        with atomic_file(path) as partial:
            partial.write_text("ne")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_write_one_file_at_once_do_not_take_each_others_words(tmp_path):
    path, at_once = tmp_path / "mask.safetensors", threading.Barrier(8)
    errors = []

    def write(text):
        try:
            with atomic_file(path) as partial:
                at_once.wait(10)
                partial.write_text(text)
                at_once.wait(10)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(letter * 1000,)) for letter in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert errors == []
    assert path.read_text() in {letter * 1000 for letter in "abcdefgh"}
    assert list(tmp_path.iterdir()) == [path]

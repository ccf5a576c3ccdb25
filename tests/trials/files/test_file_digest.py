"""Files that are described where they are written and read elsewhere."""

import pytest

from nmlab.trials.files.file_digest import describe_files, unreadable_reason


@pytest.fixture
def described(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"0123")
    (tmp_path / "b.json").write_bytes(b"{}")
    return describe_files(tmp_path, ("a.npz", "b.json"))


def test_files_as_they_were_written(tmp_path, described):
    assert unreadable_reason(tmp_path, described) == ""
    assert {name: each["bytes"] for name, each in described.items()} == {"a.npz": 4, "b.json": 2}
    assert all(len(each["digest"]) == 32 for each in described.values())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "a.npz cannot be read: No such file or directory"),
        (b"012", "a.npz has 3 bytes, expected 4"),
        (b"0122", "a.npz is not what was written (its digest differs)"),
    ],
)
def test_files_that_are_not_there_or_others(tmp_path, described, content, message):
    (tmp_path / "a.npz").unlink()
    if content is not None:
        (tmp_path / "a.npz").write_bytes(content)
    assert unreadable_reason(tmp_path, described) == message


def test_a_folder_that_is_not_there(tmp_path, described):
    assert unreadable_reason(tmp_path / "none", described).startswith("a.npz cannot be read")

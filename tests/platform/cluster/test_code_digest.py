"""The digest of nmlab's code, by which nodes compare it: every Python file of the package counts, and its name."""

from importlib import util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from nmlab.platform.cluster.proof import PACKAGES, difference, process_inspector, prove

FILES = ("__init__.py", "__main__.py", "platform/sweep.py", "trials/masks/bits.py", "reports/report.py")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package of the same form, which is found in place of the installed one."""
    for name in (*FILES, "search_spaces/space.py", "platform/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("value = 1\n")

    def find_spec(name):
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(tmp_path.joinpath(*name.split(".")[1:]))]
        return spec

    monkeypatch.setattr(util, "find_spec", find_spec)
    return tmp_path


def code():
    return process_inspector()(PACKAGES, ())["code"]


@pytest.mark.parametrize("name", FILES)
def test_a_change_of_any_file_changes_the_digest(package, name):
    before = code()
    (package / name).write_text("value = 2\n")
    assert code() != before
    (package / name).write_text("value = 1\n")
    assert code() == before


def test_a_file_that_is_no_python_and_one_beside_the_packages_do_not_count(package):
    before = code()
    (package / "platform" / "notes.txt").write_text("other")
    (package / "build").mkdir()
    (package / "build" / "copy.py").write_text("value = 3\n")
    assert code() == before


def test_the_files_of_this_checkout_are_all_in_the_digest(monkeypatch):
    read = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read.append(self) or read_bytes(self))
    code()
    root = Path(__file__).resolve().parents[3]
    folders = ("src/nmlab", "platform", "trials", "search_spaces", "reports")
    expected = {path.resolve() for folder in folders for path in (root / folder).rglob("*.py")}
    assert {path.resolve() for path in read} == expected


def test_code_without_a_package_is_no_code(monkeypatch, tmp_path):
    def find_spec(name):
        raise ModuleNotFoundError(name)

    expected = prove(tmp_path / "nonce")
    monkeypatch.setattr(util, "find_spec", find_spec)
    assert difference(process_inspector()(PACKAGES, ()), expected).startswith("nmlab is not installed; expected nmlab ")

"""Test files that start Ray run first and in one process, and every one of them says so."""

import re

import pytest
from file_order import RAY, TOGETHER, place_of, unit_of
from sources import ROOT

STARTS_RAY = re.compile(
    r"\bray\.init\([\"\w]|\bwith cluster\((cpus=.*)?\)|\bRaylets\(|\bnmlab\.sweep\("
    r"|\(.*\b(new_nmlab|undisturbed)\b.*\):"
)


USES_HARNESS = re.compile(r"\bimports? lm_eval|\bfrom lm_eval|importorskip\(\"lm_eval|\"--tasks\", quiz")


@pytest.fixture
def files(tmp_path):
    """Four test files: two that start Ray, one that is slow, and one that is neither."""
    marks = {"a": "", "b": "pytest.mark.slow", "c": "pytest.mark.ray", "d": "[pytest.mark.ray, pytest.mark.slow]"}
    for name, mark in marks.items():
        (tmp_path / f"test_{name}.py").write_text(f"pytestmark = {mark}\n")
    return sorted(tmp_path.iterdir())


def test_files_that_start_ray_come_first_then_slow_ones(files):
    assert [path.stem[-1] for path in sorted(files, key=place_of)] == ["d", "c", "b", "a"]


def test_files_that_start_ray_are_one_unit_and_each_other_file_is_one(files):
    a, b, c, d = map(unit_of, files)
    assert c == d
    assert len({a, b, c}) == 3


def test_files_that_import_lm_eval_are_one_unit_and_all_of_them_say_so():
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    using = [path for path in files if unit_of(path) != RAY and USES_HARNESS.search(path.read_text("utf-8"))]
    assert len(using) >= 4
    assert {unit_of(path) for path in using} == {TOGETHER["lm_eval"]}


def test_every_file_that_starts_ray_bears_the_mark():
    files = sorted((ROOT / "tests" / "platform").rglob("test_*.py"))
    assert any(unit_of(path) == RAY for path in files)
    unmarked = [path.name for path in files if unit_of(path) != RAY and STARTS_RAY.search(path.read_text("utf-8"))]
    assert not unmarked, "give it `pytestmark = pytest.mark.ray`"

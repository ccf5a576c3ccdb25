"""The studies that come with the package, and finding a study by name or path."""

from pathlib import Path

import pytest

from nmlab.search_spaces import loader
from nmlab.search_spaces.problems import StudyError
from nmlab.search_spaces.space import configuration_count

EXPECTED = {
    "quickstart": 8,
    "maskpro-alpha": 5,
    "maskpro-logit-magnitude": 15,
    "maskpro-estimators": 9,
    "maskpro-initial-masks": 3,
    "methods-2-4": 1,
    "methods-patterns": 4,
}
"""Name of each study that must be there, with its number of configurations."""


def files() -> list[Path]:
    return sorted(loader._STUDIES.glob("*"))


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_each_file_is_a_study_of_its_name(path):
    assert path.suffix == ".yaml"
    study = loader.load(path)
    assert study.name == path.stem
    assert study.title
    assert study.answers
    assert study.answers.endswith("?")
    assert loader.loads(loader.dump(study)) == study


def test_list_is_sorted_and_complete():
    names = [study.name for study in loader.studies()]
    assert names == sorted(path.stem for path in files())
    assert set(EXPECTED) <= set(names)


@pytest.mark.parametrize(("name", "count"), EXPECTED.items())
def test_size(name, count):
    assert configuration_count(loader.load(name)) == count


def test_a_file_by_path_or_text(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(loader.dump(loader.load("quickstart", overrides=["name=mine"])), encoding="utf-8")
    assert loader.load(path) == loader.load(str(path))
    assert loader.load(path).name == "mine"


def test_unknown_names():
    with pytest.raises(StudyError) as near:
        loader.load("quickstrt")
    assert str(near.value) == "unknown study 'quickstrt'; nearest: quickstart"
    with pytest.raises(StudyError) as far:
        loader.load("zzz")
    names = ", ".join(path.stem for path in files())
    assert str(far.value) == f"unknown study 'zzz'; valid: {names}"


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(StudyError) as missing:
        loader.load("quickstrt.yaml")
    assert str(missing.value) == "study file 'quickstrt.yaml': not found; nearest packaged study: quickstart"
    with pytest.raises(StudyError, match=r": cannot be read: Is a directory$"):
        loader.load(tmp_path)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match=r"binary\.yaml': expected UTF-8 text$"):
        loader.load(binary)

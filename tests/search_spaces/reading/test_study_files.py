"""A file that is not there is answered by the one that was meant."""

from pathlib import Path

import pytest

from nmlab.search_spaces import loader
from nmlab.search_spaces.reading.problems import StudyError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with two studies, a text, and a folder with one more study."""
    monkeypatch.chdir(tmp_path)
    for name in ("alpha-search.yaml", "seeds.yml", "corpus.txt", "studies/wanda.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("name: x\n")
    return tmp_path


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("alpha-serach.yaml", "study file 'alpha-serach.yaml': not found; did you mean 'alpha-search.yaml'?"),
        ("./alpha-search.yml", "study file 'alpha-search.yml': not found; did you mean 'alpha-search.yaml'?"),
        ("studies/wnada.yaml", "study file 'studies/wnada.yaml': not found; did you mean 'studies/wanda.yaml'?"),
        ("studeis/wanda.yaml", "study file 'studeis/wanda.yaml': not found; did you mean 'studies/wanda.yaml'?"),
        ("studeis/other.yaml", "study file 'studeis/other.yaml': not found; did you mean 'studies'?"),
        ("none/other.yaml", "study file 'none/other.yaml': not found; there is no folder 'none'"),
        ("zzz.yaml", "study file 'zzz.yaml': not found; beside it: alpha-search.yaml, seeds.yml"),
        ("quickstrt.yaml", "study file 'quickstrt.yaml': not found; did you mean the packaged study 'quickstart'?"),
        ("quickstart.yaml", "study file 'quickstart.yaml': not found; did you mean the packaged study 'quickstart'?"),
        ("./studies", "study file 'studies': a folder; expected a file in it: wanda.yaml"),
        ("alpha-search", "unknown study 'alpha-search'; did you mean the file 'alpha-search.yaml'?"),
        ("seeds", "unknown study 'seeds'; did you mean the file 'seeds.yml'?"),
    ],
)
def test_the_nearest_file_is_named(given, line):
    with pytest.raises(StudyError) as refused:
        loader.load(Path(given) if given.startswith("./") else given)
    assert str(refused.value) == line


def test_with_many_files_beside_it_none_is_listed(folder):
    for number in range(4):
        (folder / f"{number}.yaml").write_text("name: x\n")
    with pytest.raises(StudyError, match=r"^study file 'zzz\.yaml': not found$"):
        loader.load("zzz.yaml")

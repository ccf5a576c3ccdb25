"""The built-in corpus: parts that never overlap, the same on every call and in every process."""

import ast
import re
from itertools import combinations
from pathlib import Path

import pytest

from nmlab.trials.data import python_docs


def _paragraphs(part: str) -> set[str]:
    """Paragraphs long enough that two modules do not share them by chance."""
    found = {text for document in python_docs.documents(part) for text in re.split(r"\n\s*\n", document)}
    return {text.strip() for text in found if len(text.strip()) > 200}


@pytest.mark.parametrize(
    ("part", "least_bytes", "least_documents"),
    [("training", 900_000, 300), ("calibration", 120_000, 25), ("evaluation", 120_000, 25)],
)
def test_parts_are_large_and_clean(part: str, least_bytes: int, least_documents: int):
    documents = python_docs.documents(part)
    assert sum(len(text.encode()) for text in documents) >= least_bytes
    assert len(documents) >= least_documents
    assert all(text.strip() and text.endswith("\n") for text in documents)


@pytest.mark.parametrize(("one", "other"), combinations(python_docs.PARTS, 2))
def test_no_document_and_hardly_a_paragraph_is_in_two_parts(one: str, other: str):
    assert not set(python_docs.documents(one)) & set(python_docs.documents(other))
    shared = _paragraphs(one) & _paragraphs(other)
    assert len(shared) <= 0.02 * min(len(_paragraphs(one)), len(_paragraphs(other)))


@pytest.mark.slow
def test_every_docstring_is_kept_exactly_once():
    folder = Path(ast.__file__).parent
    kept = [text for _, path in python_docs._sources(folder) for text in python_docs._docstrings(path)]
    written = sum(len(text) for part in python_docs.PARTS for text in python_docs.documents(part))
    joints = 2 * len(set(kept)) - sum(len(python_docs.documents(part)) for part in python_docs.PARTS)
    assert len(set(kept)) < len(kept), "the standard library does repeat docstrings"
    assert written == sum(len(text) for text in set(kept)) + joints


def test_docstrings_come_cleaned_and_in_source_order(tmp_path: Path):
    source = tmp_path / "module.py"
    source.write_text(
        '"""First."""\n'
        'if True:\n    class A:\n        """Second.\n\n        Left.\n            Indented.\n        """\n'
        '        async def f(self):\n            """Third."""\n'
        'def undocumented(): pass\ndef empty():\n    """ """\n'
        "def h():\n    'Fourth.'\n"
    )
    second = "Second.\n\nLeft.\n    Indented."
    assert list(python_docs._docstrings(source)) == ["First.", second, "Third.", "Fourth."]


def test_sources_leave_out_tests_generated_files_and_third_parties(tmp_path: Path):
    wanted = ["json/decoder.py", "abc.py"]
    unwanted = ["test/test_abc.py", "unittest/test/test_case.py", "site-packages/json/x.py"]
    unwanted += ["idlelib/run.py", "_sysconfigdata__linux.py", "pydoc_data/topics.py", "mypackage.py"]
    for name in wanted + unwanted:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('"""Text."""\n')
    assert [module for module, _ in python_docs._sources(tmp_path)] == ["abc", "json.decoder"]


def test_an_interpreter_without_source_is_reported(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"standard library's \.py files"):
        python_docs._sources(tmp_path)


@pytest.mark.parametrize(
    ("module", "part"),
    [("email.message", "training"), ("http.client", "calibration"), ("typing", "evaluation")],
)
def test_the_split_never_moves(module: str, part: str):
    assert python_docs.part_of(module) == part


@pytest.mark.parametrize(("public", "twin"), [("decimal", "_pydecimal"), ("io", "_pyio"), ("abc", "_py_abc")])
def test_a_twin_follows_its_public_module(public: str, twin: str):
    assert python_docs.part_of(twin) == python_docs.part_of(public)


@pytest.mark.slow
def test_the_digest_is_the_same_in_another_process(elsewhere):
    assert elsewhere["digest"] == python_docs.digest()
    assert re.fullmatch(r"[0-9a-f]{16}", python_docs.digest())


def test_callers_cannot_change_the_corpus():
    python_docs.documents("calibration").clear()
    assert python_docs.documents("calibration")


def test_a_wrong_part_is_named_with_the_nearest_right_one():
    with pytest.raises(ValueError, match=r"'evaluate'; did you mean 'evaluation'\? known: calibration, evaluation, l"):
        python_docs.documents("evaluate")


def test_validation_is_a_third_of_the_calibration_part_and_shares_no_module_with_the_rest():
    calibration, learning, validation = (
        python_docs.documents(part) for part in ("calibration", "learning", "validation")
    )
    assert sorted([*learning, *validation]) == sorted(calibration)
    assert 0.30 < sum(map(len, validation)) / sum(map(len, calibration)) < 0.37
    assert not set(learning) & set(validation)


def test_all_of_a_package_is_on_one_side_of_validation():
    assert len({python_docs.is_validation(module) for module in ("json", "json.decoder", "json.tool")}) == 1

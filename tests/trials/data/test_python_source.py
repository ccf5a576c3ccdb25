"""The built-in texts of code and comments: other kinds of text than docstrings, from the same modules."""

import ast
from itertools import combinations

import pytest

from nmlab.trials.contract.errors import SourceError
from nmlab.trials.data import python_docs, python_source
from nmlab.trials.data.sources import TextSource, read_documents


@pytest.mark.parametrize("source", python_source.SOURCES)
def test_both_small_parts_are_large_enough_to_measure_and_to_learn_on(source):
    for part in ("calibration", "evaluation"):
        found = read_documents(TextSource(source, part=part))
        assert sum(map(len, found)) > 60_000
        assert all(text.strip() and text.endswith("\n") for text in found)
    learning, validation = (python_source.SOURCES[source](part) for part in ("learning", "validation"))
    assert set(learning) | set(validation) == set(python_source.SOURCES[source]("calibration"))
    assert not set(learning) & set(validation)


@pytest.mark.parametrize("source", python_source.SOURCES)
def test_no_document_is_in_two_parts(source):
    for one, other in combinations(("calibration", "evaluation"), 2):
        assert not set(python_source.SOURCES[source](one)) & set(python_source.SOURCES[source](other))


def test_code_is_python_without_docstrings():
    trees = [ast.parse(text) for text in python_source.code("evaluation")]
    documented = [
        node
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, python_source._DOCUMENTED) and ast.get_docstring(node)
    ]
    assert trees
    assert not documented


def test_comments_are_runs_of_lines_without_their_marks():
    source = b"#!/bin/python\nx = 1  # one\n\n# two lines\n# of text\n\n#####\ny = '# no comment'\n"
    assert python_source._comments(source) == "/bin/python\none\n\ntwo lines\nof text"


def test_code_loses_what_documents_it_and_stays_valid():
    source = b'''"""Module."""\ndef f():\n    """Only this."""\n\nclass A:\n    "Text"\n    x = 1  # gone\n'''
    assert python_source._code(source) == "def f():\n    pass\n\nclass A:\n    x = 1"


def test_an_unknown_builtin_text_names_the_nearest():
    with pytest.raises(SourceError, match="did you mean 'builtin:python-code'"):
        read_documents(TextSource("builtin:python-cod", part="evaluation"))


def test_parts_are_those_of_the_docstrings():
    with pytest.raises(ValueError, match="unknown part of python-docs"):
        python_source.code("test")
    modules = [module for part in python_docs.PARTS for module, _ in python_docs.modules_of(part)]
    assert len(modules) == len(set(modules)) == len(python_docs._library())

"""Studies that calibrate on a mixture of texts: how it is written, what is refused, and what stays as it was."""

import jsonschema
import pytest
from pydantic import ValidationError

from nmlab.search_spaces import loader
from nmlab.search_spaces.json_schema import json_schema
from nmlab.search_spaces.reading.problems import StudyError
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.sections import MixturePart

TEXT = (
    "name: small\nmodel: {{source: builtin:tiny}}\npattern: '2:4'\nmethod: wanda\ndata:\n"
    "  calibration:\n    source:\n{entries}    samples: {samples}\n    batch_size: 2\n  evaluation: {{source: e.txt}}\n"
)


def study(*entries, samples="8"):
    return loader.loads(TEXT.format(entries="".join(f"      - {entry}\n" for entry in entries), samples=samples))


def test_entries_are_sources_or_mappings_with_weights():
    found = study("builtin:python-docs", "{source: news.jsonl, weight: 3, column: body}").data.calibration
    assert found.parts == (
        MixturePart(source="builtin:python-docs"),
        MixturePart(source="news.jsonl", weight=3.0, column="body"),
    )
    assert found.with_samples(8).window_counts == (2, 6)


def test_a_study_is_written_and_read_with_a_mixture():
    own = study("a.txt", "{source: b.txt, weight: 0.5}")
    assert loader.loads(loader.dump(own)) == own


def test_a_single_source_is_written_as_before(study_of):
    calibration = study_of().data.calibration
    assert calibration.model_dump()["source"] == "builtin:python-docs"
    assert [part.weight for part in calibration.parts] == [1.0]
    assert not calibration.is_mixture


@pytest.mark.parametrize(
    ("entries", "line", "message"),
    [
        (["a.txt"], 7, "data.calibration.source ['a.txt']: expected two texts or more in a list"),
        (["a.txt", "{source: a.txt, weight: 2}"], 7, "'a.txt' is given twice; expected it once, with the weight"),
        (["a.txt", "{source: b.txt, weight: 0}"], 9, "data.calibration.source[1].weight 0: expected more than 0"),
        (["a.txt", "{source: b.txt, weigth: 2}"], 9, "unknown key; did you mean 'data.calibration.source[1].weight'?"),
        (["a.txt", "{weight: 2}"], 9, "data.calibration.source[1].source: missing; expected `builtin:*`"),
        (["a.txt", "3"], 9, "data.calibration.source[1] 3: expected a mapping with source, weight, split, column"),
    ],
)
def test_a_wrong_entry_is_named_with_its_line(entries, line, message):
    with pytest.raises(StudyError) as caught:
        study(*entries)
    told = [problem for problem in caught.value.problems if problem.startswith(f"study.yaml, line {line}: ")]
    assert any(message in problem for problem in told), caught.value.problems


def test_each_number_of_samples_has_one_of_each_text():
    with pytest.raises(StudyError, match=r"data\.calibration\.samples 2: expected at least 3, one of each text"):
        study("a.txt", "b.txt", "c.txt", samples="{grid: [2, 8]}")


def test_split_and_column_belong_to_the_entries(minimal):
    calibration = {"source": ["a.txt", "b.txt"], "split": "train"}
    with pytest.raises(ValidationError, match="expected split with the entries of source, since these are several"):
        Study.model_validate({**minimal, "data": {**minimal["data"], "calibration": calibration}})


def test_a_built_in_part_learns_from_what_validation_leaves(minimal):
    data = {**minimal["data"], "validation": {"source": "builtin:python-docs"}}
    mixture = {"source": ["a.txt", "builtin:python-docs"]}
    assert Study.model_validate({**minimal, "data": {**data, "calibration": mixture}}).data.learning_part == "learning"
    other = {"source": ["a.txt", "b.txt"]}
    assert Study.model_validate({**minimal, "data": {**data, "calibration": other}}).data.learning_part is None


@pytest.mark.parametrize(
    ("section", "given", "is_valid"),
    [
        ("calibration", {"source": ["a.txt", {"source": "b.txt", "weight": 2}]}, True),
        ("calibration", {"source": [{"weight": 2}, "b.txt"]}, False),
        ("neutral", ["a.txt", {"source": "b.txt", "name": "own"}], True),
        ("neutral", [3], False),
    ],
)
def test_the_schema_for_editors_knows_lists_of_texts(minimal, section, given, is_valid):
    study = {**minimal, "data": {**minimal["data"], section: given}}
    assert jsonschema.Draft202012Validator(json_schema()).is_valid(study) is is_valid

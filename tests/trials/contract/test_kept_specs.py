"""Specifications that an older version kept are read as they were written, whatever is refused today."""

import json

import pytest
from pydantic import ValidationError

from nmlab.trials.contract.sections import CalibrationSpec, ModelSource
from nmlab.trials.contract.trial_spec import TrialSpec

# As `nmlab run magnitude --column "" --split "" --revision " main"` left them at 32ecf56, with the key of then.
KEPT = {
    "method": "magnitude",
    "pattern": "2:4",
    "seed": 2**40,
    "hyperparameters": {},
    "model": {"source": "builtin:tiny", "revision": " main", "dtype": "float32"},
    "calibration": {"source": "a.csv", "split": "", "column": "", "samples": 2, "sequence_length": 16},
    "evaluation": {"source": "a.csv ", "split": "", "column": " text", "tasks": [], "sequence_length": 16},
}


def test_text_that_is_refused_today_is_read_as_it_was_written():
    spec = TrialSpec.from_record(json.loads(json.dumps(KEPT)))
    assert (spec.calibration.column, spec.calibration.split) == ("", "")
    assert (spec.model.revision, spec.evaluation.source, spec.evaluation.column) == (" main", "a.csv ", " text")
    assert TrialSpec.from_record(spec.model_dump(mode="json")).key == spec.key


def test_its_key_is_the_one_of_then():
    assert TrialSpec.from_record(KEPT).key == "b3afeb05a5957616"


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"model": {"source": 3}},
        {"model": {**KEPT["model"], "dtype": "float64"}},
        {"calibration": {**KEPT["calibration"], "samples": 0}},
        {"calibration": {**KEPT["calibration"], "samples": "2"}},
        {"evaluation": {**KEPT["evaluation"], "novel": 1}},
        {"hyperparameters": {"alpha": [0.9]}},
    ],
)
def test_what_no_version_has_written_is_refused(wrong):
    with pytest.raises(ValidationError):
        TrialSpec.from_record({**KEPT, **wrong})


@pytest.mark.parametrize("text", ["", " "])
def test_a_new_specification_holds_no_empty_text(text):
    with pytest.raises(ValidationError, match="at least 1 character"):
        ModelSource(source=text)


def test_spaces_around_text_go_but_for_columns_whose_headers_may_have_them():
    text = CalibrationSpec(source=" a.csv ", split=" train ", column=" text")
    assert (text.source, text.split, text.column) == ("a.csv", "train", " text")


def test_numbers_are_numbers():
    for samples in ("8", 8.0, True):
        with pytest.raises(ValidationError, match="integer"):
            CalibrationSpec(source="a", samples=samples)

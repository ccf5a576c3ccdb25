"""The study model: defaults, immutability, derived values, and its JSON Schema."""

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from nmlab.search_spaces import loader
from nmlab.search_spaces.json_schema import json_schema
from nmlab.search_spaces.schema.sections import Data
from nmlab.search_spaces.schema.study import Study
from nmlab.trials.contract.sections import CalibrationSpec, CalibrationText, TrialBudget
from nmlab.trials.contract.trial_spec import TrialSpec


def test_defaults(study_of):
    study = study_of()
    assert study.seeds == (0, 1, 2)
    assert study.baselines == ("dense",)
    assert (study.search.algorithm, study.search.metrics, study.search.modes) == (
        "grid",
        ("eval/perplexity",),
        ("min",),
    )
    assert (study.replica.count, study.replica.slots, study.replica.pipeline_stages) == (1, 1, 1)
    assert (study.intervals.log_every, study.intervals.evaluate_every, study.intervals.checkpoint_every) == (
        None,
        None,
        500,
    )
    calibration = study.data.calibration
    assert (calibration.samples, calibration.sequence_length, calibration.batch_size) == (128, 128, 32)
    assert study.budget.time_limit_seconds is None


@pytest.mark.parametrize("section", ["search", "model", "data", "budget", "replica", "intervals"])
def test_nothing_changes_after_reading(study_of, section):
    study = study_of()
    with pytest.raises(ValidationError, match="frozen"):
        setattr(study, section, None)
    inner = getattr(study, section)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(inner, next(iter(type(inner).model_fields)), None)


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("45s", 45), ("30m", 1800), ("1h30m", 5400), ("2d", 172800), ("1d1h1m1s", 90061)],
)
def test_time_limit_in_seconds(study_of, duration, seconds):
    assert study_of(budget={"time_limit": duration}).budget.time_limit_seconds == seconds


def test_concurrency_fills_every_slot_unless_limited(study_of):
    replica = {"count": 3, "slots": 2}
    assert study_of(replica=replica).concurrency == 6
    assert study_of(replica=replica, budget={"max_concurrent": 4}).concurrency == 4


def test_methods_patterns_and_entries_in_file_order(study_of):
    study = study_of(
        method={"choice": ["maskpro", "susi"]},
        pattern={"grid": ["2:4", "4:8"]},
        space={"steps": {"grid": [1, 2]}, "alpha": {"choice": [0.9, 0.99]}},
    )
    assert study.methods == ("maskpro", "susi")
    assert study.patterns == ("2:4", "4:8")
    assert list(study.entries) == ["method", "pattern", "steps", "alpha"]


def test_values_keep_their_types(study_of):
    fixed = study_of(fixed={"a": 1, "b": 1.0, "c": True, "d": "1", "e": None}).fixed
    assert [type(value) for value in fixed.values()] == [int, float, bool, str, type(None)]


def test_objectives_of_nsga2(study_of):
    search = {
        "algorithm": "nsga2",
        "samples": 4,
        "metric": ["eval/perplexity", "cost/seconds"],
        "mode": ["min", "min"],
    }
    study = study_of(search=search, space={"alpha": {"uniform": [0.5, 1]}})
    assert study.search.metrics == ("eval/perplexity", "cost/seconds")
    assert study.search.modes == ("min", "min")


@pytest.mark.parametrize("task", ["boolq", "tasks/boolq.jsonl"])
def test_accuracy_of_a_listed_task_is_a_metric(study_of, minimal, task):
    minimal["data"]["evaluation"]["tasks"] = [task]
    assert study_of(data=minimal["data"], search={"metric": "eval/boolq/acc", "mode": "max"}).search.mode == "max"


def test_what_a_trial_has_as_well_is_declared_for_trials_alone():
    of_study = {name: field.annotation for name, field in {**Study.model_fields, **Data.model_fields}.items()}
    of_trial = {"model": "model", "validation": "validation", "evaluation": "evaluation", "intervals": "cadence"}
    for name, of_the_trial in of_trial.items():
        assert of_study[name] == TrialSpec.model_fields[of_the_trial].annotation
    assert issubclass(of_study["calibration"], CalibrationText)
    assert issubclass(of_study["budget"], TrialBudget)
    assert own_fields(of_study["calibration"]) == set()
    assert own_fields(CalibrationSpec) == {"part"}  # which follows from the study's texts
    assert own_fields(of_study["budget"]) == {"max_concurrent", "time_limit", "total"}


def own_fields(section):
    return set(section.__annotations__) & set(section.model_fields)


def test_json_schema_is_valid_and_accepts_every_packaged_study():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for study in loader.studies():
        text = (loader._STUDIES / f"{study.name}.yaml").read_text(encoding="utf-8")
        validator.validate(yaml.safe_load(text))
        validator.validate(yaml.safe_load(loader.dump(study)))


@pytest.mark.parametrize(
    "change",
    [
        {"serch": {}},
        {"seeds": ["a"]},
        {"search": {"algorithm": "tpee"}},
        {"space": {"alpha": {"gird": [1]}}},
        {"space": {"alpha": {"grid": [1], "choice": [2]}}},
        {"space": {"alpha": 0.9}},
        {"pattern": {"uniform": [1, 2]}},
        {"fixed": {"alpha": [1]}},
        {"baselines": [{"alpha": 1}]},
    ],
)
def test_json_schema_refuses_what_the_reader_refuses(minimal, change):
    bad = {**minimal, **change}
    with pytest.raises(ValidationError):
        Study.model_validate(bad)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(json_schema()).validate(bad)


def test_a_confirmation_takes_its_numbers_from_the_study_or_from_its_defaults(study_of):
    assert study_of().search.confirm is None
    asked = study_of(search={"confirm": {}}).search.confirm
    assert (asked.top, asked.seeds) == (3, 5)
    assert study_of(search={"confirm": {"top": 1, "seeds": 2}}).search.confirm.seeds == 2


def test_a_study_is_written_without_the_sections_that_it_does_not_have(study_of):
    """As before these existed: the file of a launch, which has a digest, and its parameters in MLflow."""
    written = yaml.safe_load(loader.dump(study_of()))
    assert "confirm" not in written["search"]
    assert "validation" not in written["data"]
    both = study_of(search={"confirm": {"top": 2}}, data=with_validation())
    written = yaml.safe_load(loader.dump(both))
    assert written["search"]["confirm"] == {"top": 2, "seeds": 5}
    assert written["data"]["validation"]["windows"] == 4
    assert loader.loads(loader.dump(both)) == both


def with_validation():
    text = {"source": "builtin:python-docs"}
    return {"calibration": text, "validation": {**text, "windows": 4}, "evaluation": text}


def test_the_json_schema_knows_sections_that_may_be_missing(minimal):
    confirmed = {**minimal, "search": {"confirm": {"top": 2}}, "data": with_validation()}
    jsonschema.validate(confirmed, json_schema())
    preset = {"name": "x", "presets": {"small": {"data": {"validation": {"windows": 4}}, "search": {"confirm": {}}}}}
    jsonschema.validate(preset, json_schema())
    for wrong in ({"confirm": {"tops": 2}}, {"confirm": {"seeds": 0}}, {"confirm": 3}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**minimal, "search": wrong}, json_schema())

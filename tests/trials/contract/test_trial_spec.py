"""The key of a trial: it depends on everything a result depends on, on nothing else, and not on the process."""

import pytest
from pydantic import ValidationError

from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec, Intervals
from nmlab.trials.contract.trial_spec import TrialSpec, flat_settings
from nmlab.trials.models import ModelSource

MODEL = ModelSource(source="builtin:tiny", dtype="bfloat16")
SPEC = TrialSpec(
    method="maskpro",
    pattern="2:4",
    seed=3,
    hyperparameters={"alpha": 0.9, "steps": 100, "initial_mask": "wanda"},
    model=MODEL,
    calibration=CalibrationSpec(source="text.txt[:80%]", column=None),
    evaluation=EvaluationSpec(source="text.txt[80%:]"),
)


def _changed(**changes) -> TrialSpec:
    return TrialSpec(**{**{name: getattr(SPEC, name) for name in TrialSpec.model_fields}, **changes})


def test_keys_are_hexadecimal_and_repeatable():
    assert len(SPEC.key) == 16
    assert len(SPEC.configuration) == 8
    assert int(SPEC.key, 16) >= 0
    assert _changed().key == SPEC.key
    assert TrialSpec.model_validate_json(SPEC.model_dump_json()).key == SPEC.key


@pytest.mark.slow
def test_another_process_finds_the_same_keys(elsewhere):
    """A trial finds its own checkpoints by its key in any process."""
    assert elsewhere["keys"] == [SPEC.key, SPEC.configuration]


def test_the_order_of_hyperparameters_does_not_matter():
    assert _changed(hyperparameters=dict(reversed(SPEC.hyperparameters.items()))).key == SPEC.key


def test_how_often_a_trial_logs_does_not_matter():
    spec = _changed(cadence=Intervals(log_every=1, evaluate_every=2, checkpoint_every=3))
    assert (spec.key, spec.configuration) == (SPEC.key, SPEC.configuration)


def test_seeds_share_the_configuration_and_not_the_key():
    assert _changed(seed=4).key != SPEC.key
    assert _changed(seed=4).configuration == SPEC.configuration


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "random"},
        {"pattern": "4:8"},
        {"hyperparameters": {**SPEC.hyperparameters, "alpha": 0.91}},
        {"hyperparameters": {}},
        {"model": ModelSource(source="builtin:tiny")},
        {"model": ModelSource(source="builtin:tiny", revision="main", dtype="bfloat16")},
        {"calibration": CalibrationSpec(source="text.txt[:70%]")},
        {"calibration": CalibrationSpec(source="text.txt[:80%]", seed=1)},
        {"evaluation": EvaluationSpec(source="text.txt[80%:]", windows=5)},
        {"budget": {"tokens": 1000}},
    ],
)
def test_everything_a_result_depends_on_matters(changes):
    assert _changed(**changes).key != SPEC.key
    assert _changed(**changes).configuration != SPEC.configuration


def test_the_flat_view_names_every_setting():
    flat = SPEC.flat()
    assert flat["method"] == "maskpro"
    assert flat["seed"] == 3
    assert flat["alpha"] == 0.9
    assert flat["initial_mask"] == "wanda"
    assert flat["model.dtype"] == "bfloat16"
    assert flat["data.calibration.source"] == "text.txt[:80%]"
    assert flat["data.evaluation.sequence_length"] == 128
    assert not any(isinstance(value, dict) for value in flat.values())
    assert not any(name.startswith(("cadence", "hyperparameters")) for name in flat)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"sed": 1},
        {"calibration": {"source": "a", "samples": 0}},
        {"calibration": {"source": "a", "sequence_length": 1}},
        {"evaluation": {"source": "a", "perplexity": "letter"}},
        {"evaluation": {"source": "a", "windowing": "sliding"}},
        {"evaluation": {"source": "a", "tasks": "arc_easy"}},
        {"evaluation": {"source": "a", "few_shot": -1}},
        {"budget": {"seconds": 0}},
        {"cadence": {"checkpoint_every": 0}},
        {"hyperparameters": {"alpha": [0.9]}},
    ],
)
def test_a_wrong_setting_is_refused(wrong):
    with pytest.raises(ValidationError):
        _changed(**wrong)


def test_a_trial_cannot_be_changed_once_made():
    with pytest.raises(ValidationError, match="frozen"):
        SPEC.seed = 4


def test_a_mixture_is_written_by_setting_with_the_windows_of_each_text():
    calibration = CalibrationSpec(source=["a.txt", {"source": "b.txt", "weight": 2, "column": "body"}], samples=128)
    spec = _changed(calibration=calibration)
    flat = {name: value for name, value in spec.flat().items() if name.startswith("data.calibration.")}
    assert flat["data.calibration.source"] == "a.txt, b.txt"
    assert flat["data.calibration.weight"] == "1, 2"
    assert flat["data.calibration.column"] == "null, body"
    assert flat["data.calibration.windows"] == "43, 85"
    assert "data.calibration.split" not in flat
    assert TrialSpec.model_validate_json(spec.model_dump_json()) == spec
    assert TrialSpec.from_record(spec.model_dump(mode="json")).key == spec.key
    weighed = CalibrationSpec(source=["a.txt", {"source": "b.txt", "weight": 3, "column": "body"}], samples=128)
    assert _changed(calibration=weighed).key != spec.key
    record = {"calibration": calibration.model_dump(mode="json", exclude_none=True)}
    assert flat_settings({"data": record})["data.calibration.column"] == "null, body", "as of an initial mask"

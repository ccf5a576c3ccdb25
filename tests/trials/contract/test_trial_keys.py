"""Trial keys are kept for good: 20 of them as the first complete version computed them, and a rule for new fields."""

import json
from pathlib import Path

import pytest

from nmlab.trials.contract import trial_spec
from nmlab.trials.contract.sections import CalibrationSpec, EvaluationSpec, Intervals, ModelSource, TrialBudget
from nmlab.trials.contract.trial_spec import ADDED_LATER, TrialSpec
from nmlab.trials.methods import registry

RECORDED = json.loads(Path(__file__).with_name("trial_keys.json").read_text(encoding="utf-8"))
SECTIONS = {
    "model": ModelSource.model_fields,
    "calibration": CalibrationSpec.model_fields,
    "evaluation": EvaluationSpec.model_fields,
    "budget": TrialBudget.model_fields,
    "cadence": Intervals.model_fields,
    "trial": TrialSpec.model_fields,
}


@pytest.mark.parametrize("recorded", RECORDED["trials"], ids=lambda recorded: recorded["key"])
def test_a_trial_of_the_first_version_has_the_key_it_had(recorded):
    found = TrialSpec.model_validate(recorded["spec"])
    assert (found.key, found.configuration) == (recorded["key"], recorded["configuration"])


@pytest.mark.parametrize("recorded", RECORDED["trials"], ids=lambda recorded: recorded["key"])
def test_so_has_one_whose_defaults_are_written_out_today(recorded):
    """A new hyperparameter that is missing from ``ADDED_LATER``, or has another default there, changes these keys."""
    given = recorded["spec"]
    today = registry.get(given["method"]).configure(given["hyperparameters"]).model_dump()
    assert TrialSpec.model_validate({**given, "hyperparameters": today}).key == recorded["key"]


def test_twenty_different_keys_are_recorded():
    assert len({recorded["key"] for recorded in RECORDED["trials"]}) == 20


def test_every_field_is_recorded_or_added_later():
    """A new field must be added to ``ADDED_LATER`` too; the cadence is not part of a key."""
    now = {name: set(known) for name, known in SECTIONS.items()}
    for name, recorded in RECORDED["fields"].items():
        prefix = "" if name == "trial" else f"{name}."
        added = {path for path in ADDED_LATER if path.rpartition(".")[0] == prefix.rstrip(".")}
        expected = {f"{prefix}{field}" for field in recorded} | added
        assert name == "cadence" or {f"{prefix}{field}" for field in now[name]} == expected
    for method, recorded in RECORDED["hyperparameters"].items():
        prefix = f"hyperparameters.{method}."
        added = {path.removeprefix(prefix) for path in ADDED_LATER if path.startswith(prefix)}
        assert set(registry.get(method).config.model_fields) == set(recorded) | added


def test_what_the_model_leaves_dense_is_part_of_a_key_where_it_is_given():
    body = RECORDED["trials"][1]["spec"]
    named = TrialSpec.model_validate({**body, "model": {**body["model"], "leave_dense": ["experts", "a"]}})
    turned = TrialSpec.model_validate({**body, "model": {**body["model"], "leave_dense": ["a", "experts", "a"]}})
    assert named.key != RECORDED["trials"][1]["key"]
    assert named.key == turned.key
    assert TrialSpec.model_validate_json(named.model_dump_json()).key == named.key
    assert named.flat()["model.leave_dense"] == "a, experts"
    assert "model.leave_dense" not in TrialSpec.model_validate(body).flat()


@pytest.mark.parametrize(
    ("path", "section", "name"),
    [
        ("hyperparameters.maskpro.novel", "hyperparameters", "novel"),
        ("calibration.micro_novel", "calibration", "micro_novel"),
        ("novel", None, "novel"),
    ],
)
def test_a_later_field_is_left_out_at_its_default_only(monkeypatch, path, section, name):
    monkeypatch.setitem(ADDED_LATER, path, 1)
    for value, is_left_out in ((1, True), (2, False), (True, False), (1.0, False)):
        inside = {name: value, "old": 1}
        identity = inside if section is None else {section: inside}
        trial_spec._leave_out(identity, path, ADDED_LATER[path], method="maskpro")
        assert (name not in inside) is is_left_out
        assert inside["old"] == 1


def test_a_later_hyperparameter_of_another_method_is_not_meant():
    identity = {"hyperparameters": {"novel": 1}}
    trial_spec._leave_out(identity, "hyperparameters.susi.novel", 1, method="maskpro")
    assert identity == {"hyperparameters": {"novel": 1}}

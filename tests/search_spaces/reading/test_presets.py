"""Presets: what wins over what, names, errors, and that nothing of them is left in a resolved study."""

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from nmlab.search_spaces import loader
from nmlab.search_spaces.json_schema import json_schema
from nmlab.search_spaces.reading import presets
from nmlab.search_spaces.reading.presets import merged
from nmlab.search_spaces.reading.problems import StudyError
from nmlab.search_spaces.schema.study import Study

STUDY = """
name: ask
reproduces: [maskpro/table-10, susi/table-7]
data: {calibration: {samples: {grid: [16, 64]}}}
pattern: "2:4"
method: maskpro
fixed: {steps: 100, alpha: 0.9}
space: {learning_rate: {loguniform: [0.1, 10]}}
search: {algorithm: random, samples: 3}
presets:
  small: {scale: tiny}
  full:
    scale: tiny
    model: {source: org/model, dtype: bfloat16}
    fixed: {steps: 5000, learning_rate: 50}
    space: {alpha: {uniform: [0.5, 0.9]}}
    seeds: [7]
  named: {scale: tiny, name: mine}
  bare:
"""


def read(text=STUDY, preset=None, overrides=()):
    return loader.loads(text, source="my.yaml", preset=preset, overrides=overrides)


def test_the_first_preset_is_the_default():
    study = read()
    assert (study.name, study.preset, study.model.source) == ("ask", "small", "builtin:tiny")
    assert study == read(preset="small")
    assert study.reproduces == ("maskpro/table-10", "susi/table-7")


def test_what_is_more_particular_wins():
    tiny, study = presets.scale("tiny"), read(preset="full", overrides=["fixed.steps=7", "replica.slots=3"])
    assert study.model.source == "org/model"  # the preset over the scale
    assert study.data.calibration.sizes == (16, 64)  # the study over the scale
    assert study.data.calibration.sequence_length == tiny["data"]["calibration"]["sequence_length"]
    assert study.replica.count == tiny["replica"]["count"]
    assert study.replica.slots == 3  # --set over everything
    assert study.fixed == {"steps": 7, "learning_rate": 50}
    assert list(study.space) == ["alpha"]  # learning_rate left the space when it was fixed
    assert study.seeds == (7,)


@pytest.mark.parametrize(("preset", "name"), [(None, "ask"), ("full", "ask-full"), ("named", "mine")])
def test_another_preset_is_another_experiment(preset, name):
    assert read(preset=preset).name == name


@pytest.mark.parametrize("preset", ["small", "full", "named"])
def test_a_resolved_study_holds_no_presets(preset):
    study = read(preset=preset)
    written = loader.dump(study)
    assert "presets" not in yaml.safe_load(written)
    assert loader.loads(written) == study


def test_the_presets_of_a_file(tmp_path):
    path = tmp_path / "ask.yaml"
    path.write_text(STUDY, encoding="utf-8")
    assert loader.presets(path) == ("small", "full", "named", "bare")
    path.write_text(loader.dump(read()), encoding="utf-8")
    assert loader.presets(path) == ()
    assert loader.load(path).preset == "small"


def replaced(presets_text):
    return STUDY[: STUDY.index("presets:")] + presets_text


ERRORS = [
    (STUDY, "ful", "my.yaml: preset 'ful': unknown preset; did you mean 'full'?"),
    (STUDY, "zzz", "my.yaml: preset 'zzz': unknown preset; known: small, full, named, bare"),
    (replaced(""), "full", "my.yaml: preset 'full': unknown; the study has no presets"),
    (
        replaced("presets: {a: {scale: tny}}"),
        None,
        "my.yaml, line 10: presets.a.scale 'tny': unknown scale; did you mean 'tiny'?",
    ),
    (
        replaced("presets: {a: {scale: tiny, fixd: {}}}"),
        None,
        "my.yaml, line 10: fixd: unknown key; did you mean 'fixed'?",
    ),
    (
        replaced("presets: {a: {scale: tiny}, b: {scale: tiny, search: {algoritm: tpe}}}"),
        "b",
        "my.yaml, line 10: search.algoritm: unknown key; did you mean 'search.algorithm'?",
    ),
    (
        replaced("presets: []"),
        None,
        "my.yaml, line 10: presets []: expected a mapping from name to overrides, as in {small: {scale: tiny}}",
    ),
    (
        replaced("presets: {a: 3}"),
        None,
        "my.yaml, line 10: presets.a 3: expected a mapping with overrides of the study",
    ),
    (
        replaced("presets: {a: {preset: b}}"),
        None,
        "my.yaml, line 10: presets.a.preset: expected no presets within a preset",
    ),
    (
        replaced("presets: {A b: {}}"),
        None,
        "my.yaml, line 10: presets.A b: expected lower-case letters and digits, joined by hyphens, for example "
        "full-llama-2-7b",
    ),
    (
        "preset: small" + STUDY,
        None,
        "my.yaml, line 1: preset 'small': expected no such key beside presets; --preset NAME chooses one",
    ),
]


@pytest.mark.parametrize(("text", "preset", "line"), ERRORS, ids=[row[2][:60] for row in ERRORS])
def test_errors_say_what_is_there(text, preset, line):
    with pytest.raises(StudyError) as caught:
        read(text, preset=preset)
    assert str(caught.value) == line


def test_a_preset_without_model_says_what_is_missing():
    with pytest.raises(StudyError, match=r"my\.yaml, preset bare: model: missing; expected a mapping with source"):
        read(preset="bare")


def test_a_preset_is_not_set_but_chosen():
    with pytest.raises(StudyError, match="--set: preset: expected --preset NAME to choose a preset"):
        read(overrides=["preset=full"])


@pytest.mark.parametrize("name", presets.scales())
def test_a_scale_says_where_a_study_runs_and_fits_one(name):
    given = presets.scale(name)
    assert {"model", "data"} <= set(given) <= {*presets.SCALE_KEYS}
    study = Study.model_validate({**given, "name": "s", "pattern": "2:4", "method": "dense"})
    assert study.model.source


def test_the_schema_takes_files_with_presets_and_refuses_wrong_ones():
    validator = jsonschema.Draft202012Validator(json_schema())
    data = yaml.safe_load(STUDY)
    assert validator.is_valid(data)
    assert not validator.is_valid({**data, "presets": {"a": {"scale": "tny"}}})
    assert not validator.is_valid({**data, "presets": {"a": {"fixd": {}}}})
    assert not validator.is_valid({**data, "presets": {"a": {"data": {"calibration": {"sampels": 3}}}}})
    assert not validator.is_valid({name: value for name, value in data.items() if name != "presets"})


# --- merging, by properties ---------------------------------------------------------------------------------------

VALUES = st.integers(0, 3) | st.lists(st.integers(0, 3), max_size=2)
ENTRIES = st.sampled_from([{"grid": [1, 2]}, {"uniform": [0, 1]}, {"choice": ["a"], "when": {"x": 1}}])
HYPER = st.sampled_from(["alpha", "steps", "tau"])


@st.composite
def raw(draw):
    """Return part of a raw study; a hyperparameter stands under `fixed` or under `space`."""
    fixed = draw(st.dictionaries(HYPER, VALUES, max_size=3))
    space = draw(st.dictionaries(HYPER, ENTRIES, max_size=3))
    whole = {
        "fixed": fixed,
        "space": {name: entry for name, entry in space.items() if name not in fixed},
        "data": {"calibration": draw(st.dictionaries(st.sampled_from(["samples", "seed"]), VALUES, max_size=2))},
        "pattern": draw(st.just("2:4") | ENTRIES),
        "seeds": draw(st.lists(st.integers(0, 3), max_size=2)),
    }
    return {name: whole[name] for name in whole if draw(st.booleans())}


def leaves(data, prefix=()):
    """Yield every path to a value that is replaced whole, with the value."""
    for key, value in data.items():
        path = (*prefix, key)
        if isinstance(value, dict) and ((path[0] in ("fixed", "data") and len(path) < 3) or path == ("space",)):
            yield from leaves(value, prefix=path)
        else:
            yield path, value


@settings(deadline=None, max_examples=100)
@given(general=raw(), particular=raw())
def test_all_of_the_particular_and_what_it_leaves_of_the_general(general, particular):
    before, found = dict(leaves(general)), dict(leaves(merged(general, particular)))
    own = dict(leaves(particular))
    moved = {(twin, path[1]) for path in own if len(path) == 2 for twin in ("fixed", "space") if twin != path[0]}
    kept = {path: value for path, value in before.items() if path not in own and path not in moved}
    assert found == {**kept, **own}


@settings(deadline=None, max_examples=100)
@given(first=raw(), second=raw(), third=raw())
def test_merging_is_idempotent_associative_and_changes_nothing_it_is_given(first, second, third):
    copies = [dict(leaves(part)) for part in (first, second, third)]
    assert merged(first, first) == first
    assert merged({}, first) == first == merged(first, {})
    one = merged(merged(first, second), third)
    assert dict(leaves(one)) == dict(leaves(merged(first, merged(second, third))))
    assert copies == [dict(leaves(part)) for part in (first, second, third)]


def test_a_preset_changes_a_part_of_a_section_that_may_be_missing():
    parts = "confirm: {top: 2, seeds: 3}}\npresets:\n  small: {scale: tiny}\n  more: {scale: tiny, search: {confirm: "
    text = STUDY[: STUDY.index("presets:")].replace("samples: 3}", f"samples: 3, {parts}{{seeds: 8}}}}}}")
    assert read(text).search.confirm.model_dump() == {"top": 2, "seeds": 3}
    assert read(text, preset="more").search.confirm.model_dump() == {"top": 2, "seeds": 8}

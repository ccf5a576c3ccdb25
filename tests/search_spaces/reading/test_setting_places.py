"""A problem is told with the source that decides the setting: the last one that gives it."""

import pickle

import pytest

from nmlab.search_spaces import loader
from nmlab.search_spaces.reading.problems import StudyError
from nmlab.search_spaces.schema.places import key_path, path_text

STUDY = """\
name: ask
data: {calibration: {samples: 64}}
pattern: "2:4"
method: maskpro
fixed: {steps: 100}
space: {alpha: {grid: [0.9]}}
search:
  algorithm: random
  samples: 3
replica: {shards: 2}
presets:
  small: {scale: tiny}
  full:
    scale: tiny
    search: {samples: 5}
    space: {alpha: {uniform: [0.5, 0.9]}}
    cadence: {log_every: 4}
"""


def places(preset=None, overrides=()):
    return loader.loads(STUDY, source="my.yaml", preset=preset, overrides=overrides).places


@pytest.mark.parametrize(
    ("preset", "overrides", "setting", "told"),
    [
        (None, (), "search.samples", "my.yaml, line 9"),
        ("full", (), "search.samples", "my.yaml, line 15"),
        ("full", (), "search.algorithm", "my.yaml, line 8"),
        ("full", ("search.samples=7",), "search.samples", "--set search.samples=7"),
        ("full", ("search.samples=7", "search.samples=8"), "search.samples", "--set search.samples=8"),
        ("full", (), "space.alpha.uniform[0]", "my.yaml, line 16"),
        ("full", (), "intervals.log_every", "my.yaml, line 17"),
        (None, (), "replica.pipeline_stages", "my.yaml, line 10"),
        (None, (), "data.evaluation.source", "scale tiny, line 6"),
        (None, (), "data.calibration.samples", "my.yaml, line 2"),
        (None, (), "data.calibration.split", "my.yaml, line 2"),
        # an override of a whole section hides what the file has below it
        (None, ("search={algorithm: grid}",), "search.samples", "--set search={algorithm: grid}"),
        # a key that the override alone has, and one that nothing has
        (None, ("budget.seconds=3",), "budget", "--set budget.seconds=3"),
        ("full", (), "budget.seconds", "my.yaml, preset full"),
        (None, (), "", "my.yaml"),
    ],
)
def test_the_last_source_that_gives_a_setting_is_told(preset, overrides, setting, told):
    found = places(preset, overrides).told(f"{setting} 3: no" if setting else "No such thing.")
    assert found.startswith(f"{told}: ")
    assert found.endswith("no" if setting else "No such thing.")


def test_an_override_says_key_and_value_once():
    told = places(overrides=["search.samples=7"]).told
    assert told("search.samples 7: too many") == "--set search.samples=7: too many"
    assert told("search.samples = 7: too many") == "--set search.samples=7: too many"
    assert told("search.samples: too many") == "--set search.samples=7: too many"
    assert told("samples = 7: too many", path=("search", "samples")) == "--set search.samples=7: samples = 7: too many"


def test_a_mapping_is_told_with_the_path_of_the_key():
    mine = {**loader.study_yaml.parse(STUDY, source="x"), "seeds": [0, -1]}
    with pytest.raises(StudyError) as refused:
        loader.from_mapping(mine, source="ask")
    assert str(refused.value) == "ask: seeds[1] -1: expected at least 0"
    told = loader.from_mapping({**mine, "seeds": [0]}, source="ask").places.told
    assert told("maskpro: steps = 0: no", path=("fixed", "steps")) == "ask: fixed.steps: maskpro: steps = 0: no"
    assert told("fixed.steps 0: no") == "ask: fixed.steps 0: no"


def test_places_are_no_part_of_a_study():
    study = loader.loads(STUDY, source="my.yaml")
    assert study == loader.loads(loader.dump(study), source="other.yaml")
    assert loader.dump(study) == loader.dump(loader.loads(STUDY, source="another.yaml"))
    again = pickle.loads(pickle.dumps(study))
    assert again == study
    assert again.places.told("fixed.steps 0: no") == "my.yaml, line 5: fixed.steps 0: no"
    assert not {"places", "_places"} & study.model_dump().keys()


@pytest.mark.parametrize("path", [("seeds", 0), ("space", "alpha", "grid", 1), ("name",), ("fixed", "learning_rate")])
def test_a_path_is_read_as_it_is_written(path):
    assert key_path(f"{path_text(path)} 3: no") == path
    assert key_path(f"{path_text(path)}: no") == path
    assert key_path(f"{path_text(path)} = 3: no") == path


def test_a_study_that_nmlab_wrote_down_says_which_version_did():
    text = f"# nmlab 0.0.9: the study of launch ask-1\n{loader.dump(loader.loads(STUDY))}"
    assert loader.loads(text) == loader.loads(STUDY)
    with pytest.raises(StudyError) as refused:
        loader.loads(text.replace("method: maskpro", "metod: maskpro"), source="study.yaml")
    assert str(refused.value).splitlines()[-1].startswith("study.yaml (made by nmlab 0.0.9), line ")
    assert "metod: unknown key; did you mean 'method'?" in str(refused.value)

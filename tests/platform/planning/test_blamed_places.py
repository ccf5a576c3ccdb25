"""What methods, models, texts and the machine refuse of a study is told with the line, override or key to blame."""

import pytest

import nmlab
from nmlab.platform.planning.study_plan import check_settings, plan_study
from nmlab.search_spaces import loader

STUDY = """\
name: mine
model: {source: builtin:tiny}
data:
  calibration: {source: builtin:python-docs, samples: 64}
  evaluation: {source: builtin:python-docs}
pattern: "2:4"
method: maskpro
fixed: {steps: 100}
space:
  alpha: {grid: [0.9, 0.99]}
baselines:
  - dense
  - {method: susi, steps: 200}
search: {algorithm: grid}
seeds: [0, 1]
"""
# Each row: a part of the study, what is written in its place, and the beginning of the message.
REFUSED = [
    ("method: maskpro", "method: maskpr", "line 7: unknown method 'maskpr'; did you mean 'maskpro'?"),
    ("method: maskpro", "method: {choice: [maskpro, sus]}", "line 7: unknown method 'sus'; did you mean 'susi'?"),
    ("- dense", "- dens", "line 12: unknown method 'dens'; did you mean 'dense'?"),
    ("{steps: 100}", "{stepz: 100}", "line 8: unknown hyperparameter of maskpro 'stepz'; did you mean 'steps'?"),
    ("{steps: 100}", "{steps: 0}", "line 8: maskpro: steps = 0: expected at least 1"),
    (
        "{steps: 100}",
        "\n  steps: 100\n  learning_rate: 0,9",
        "line 10: maskpro: learning_rate = '0,9': expected a number; write 0.9",
    ),
    ("{steps: 100}", "{c: 4}", "line 8: unknown hyperparameter of maskpro 'c'; here it is called logit_magnitude"),
    ("{steps: 100}", "{lr: 4}", "line 8: unknown hyperparameter of maskpro 'lr'; here it is called learning_rate"),
    ("steps: 200", "tau: 3", "line 13: unknown hyperparameter of susi 'tau'; here it is called tau_init and tau_end"),
    ("steps: 200", "steps: 0", "line 13: susi: steps = 0: expected at least 1"),
    ("alpha: {grid: [0.9, 0.99]}", "alpha: {grid: [0.9, 99]}", "line 10: maskpro: alpha = 99"),
    ("{steps: 100}", "{steps: 9, initial_mask: wand}", "line 8: maskpro: unknown initial_mask 'wand'"),
    (
        "- dense",
        "- {method: maskpro, steps: 100, alpha: 0.9}",
        "line 11: baselines: maskpro 2:4 is a point of the search too",
    ),
    (
        "seeds: [0, 1]",
        "seeds: [0, 1]\nreplica: {mask_parallel: 5}",
        "line 16: replica.mask_parallel = 5: 1 replica(s) of 1 slot(s) are 1 in all",
    ),
    (
        "{algorithm: grid}",
        "{algorithm: random, samples: 2, initial_points: [{alpha: 0.5}]}",
        "line 14: search.initial_points[0]: alpha = 0.5, expected one of 0.9, 0.99",
    ),
]


@pytest.mark.parametrize(("part", "written", "line"), REFUSED)
def test_settings_that_a_method_refuses(part, written, line):
    study = loader.loads(STUDY.replace(part, written), source="mine.yaml")
    with pytest.raises(ValueError) as refused:
        check_settings(study)
    assert str(refused.value).startswith(f"mine.yaml, {line}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("part", "written", "line"),
    [
        ("{source: builtin:tiny}", "{source: ./no-model}", "line 2: model folder './no-model' does not exist"),
        ("{source: builtin:tiny}", "{source: builtin:tinny}", "line 2: unknown model 'builtin:tinny'"),
        ("evaluation: {source: builtin:python-docs", "evaluation: {source: no.txt", "line 5: data file 'no.txt'"),
        ("python-docs}", "python-docs, tasks: [no.jsonl]}", "line 5: task file 'no.jsonl' does not exist"),
        ('"2:4"', '"7:13"', "line 6: pattern 7:13: M=13 does not divide"),
        ("samples: 64", "samples: 99999", "line 4: data 'builtin:python-docs' gives"),
    ],
)
def test_models_and_texts_that_cannot_be_used(part, written, line):
    with pytest.raises(ValueError) as refused:
        plan_study(loader.loads(STUDY.replace(part, written), source="mine.yaml"))
    assert str(refused.value).startswith(f"mine.yaml, {line}")


def test_overrides_are_told_as_given():
    with pytest.raises(ValueError) as refused:
        check_settings(loader.loads(STUDY, source="mine.yaml", overrides=["fixed.steps=0"]))
    assert str(refused.value) == "--set fixed.steps=0: maskpro: steps = 0: expected at least 1"


def test_a_study_in_python_is_told_with_the_key():
    study = nmlab.load_study(loader.study_yaml.parse(STUDY, source="x")).with_overrides(fixed={"steps": 0})
    with pytest.raises(ValueError) as refused:
        nmlab.plan(study)
    assert str(refused.value) == "mine: fixed.steps: maskpro: steps = 0: expected at least 1"


def test_what_python_did_not_change_is_told_with_the_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(STUDY.replace("{steps: 100}", "{steps: 0}"))
    study = nmlab.load_study("mine.yaml").with_overrides(seeds=[3])
    with pytest.raises(ValueError) as refused:
        nmlab.plan(study)
    assert str(refused.value) == "mine.yaml, line 8: maskpro: steps = 0: expected at least 1"


def test_memory_that_does_not_fit_names_the_line():
    with pytest.raises(ValueError, match=r"^--set replica\.slots=1000000: 2 replicas of weights"):
        nmlab.plan("quickstart", overrides=["replica.slots=1000000", "search.samples=1"])

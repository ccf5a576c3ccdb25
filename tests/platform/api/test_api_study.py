"""Studies in Python: from a name, a file and a mapping, and changed by keywords as ``--set`` changes them."""

import numpy as np
import pytest
from packaged import AT_EVERY_PRESET
from pydantic import ValidationError

import nmlab
from nmlab.search_spaces import loader


@pytest.mark.parametrize(("name", "preset"), AT_EVERY_PRESET)
def test_a_packaged_study_is_the_loaders_own(name, preset):
    expected = loader.load(name, preset=preset)
    study = nmlab.load_study(name, preset=preset)
    assert loader.dump(study) == loader.dump(expected)
    assert study.to_yaml() == loader.dump(expected)
    changed = study.with_overrides("title=Mine", seeds=[7])
    overrides = ["seeds=[7]", "title=Mine"]
    assert loader.dump(changed) == loader.dump(loader.load(name, preset=preset, overrides=overrides))


def test_keywords_change_what_they_name_and_nothing_else():
    study = nmlab.load_study("quickstart")
    changed = study.with_overrides(search={"samples": 4}, data={"evaluation": {"windows": 8}})
    assert changed.search == study.search.model_copy(update={"samples": 4})
    assert changed.data.calibration == study.data.calibration
    assert changed.data.evaluation.windows == 8
    assert study.search.samples != 4, "a study never changes"
    assert changed == study.with_overrides("search.samples=4", "data.evaluation.windows=8")
    assert changed == study.with_overrides(**{"search.samples": 4, "data.evaluation.windows": 8})


def test_space_entries_are_replaced_and_a_name_is_in_one_section_only():
    study = nmlab.load_study("quickstart")
    name = next(iter(study.space))
    searched = study.with_overrides(space={name: {"grid": [1.0, 2.0]}})
    assert searched.space[name].values == (1.0, 2.0)
    fixed = searched.with_overrides(fixed={name: 3.0})
    assert name not in fixed.space
    assert fixed.fixed[name] == 3.0
    again = fixed.with_overrides(space={name: {"choice": [1.0]}})
    assert name in again.space
    assert name not in again.fixed


@pytest.mark.parametrize("seeds", [(0, 1), range(2), [np.int64(0), np.int64(1)], {1, 0}])
def test_values_may_be_what_python_has(seeds):
    assert nmlab.load_study("quickstart").with_overrides(seeds=seeds).seeds == (0, 1)


def test_a_study_from_a_mapping_may_have_presets_and_scales():
    mine = {
        "name": "mine",
        "pattern": "2:4",
        "method": "wanda",
        "presets": {"a": {"scale": "tiny"}, "b": {"scale": "tiny"}},
    }
    assert nmlab.load_study(mine).name == "mine"
    assert nmlab.load_study(mine, preset="b").name == "mine-b"
    assert nmlab.load_study(mine, overrides=["seeds=[3]"]).seeds == (3,)


def test_a_study_is_written_and_read_again(tmp_path):
    study = nmlab.load_study("maskpro-alpha", preset="full")
    assert nmlab.load_study(study.save(tmp_path / "mine.yaml")) == nmlab.Study.of(loader.loads(study.to_yaml()))
    assert "maskpro-alpha-full" in study._repr_html_()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nmlab.load_study("quickstrat"), "unknown study 'quickstrat'; did you mean 'quickstart'?"),
        (lambda: nmlab.load_study("quickstart", preset="huge"), "preset 'huge'"),
        (lambda: nmlab.load_study({"name": "x", "modell": {}}), "x: modell: unknown key; did you mean 'model'?"),
        (lambda: nmlab.Study(name="X"), "name 'X': expected lower-case letters"),
        (lambda: nmlab.load_study("quickstart").with_overrides(sede=[0]), "sede: unknown key; did you mean 'seeds'?"),
        (lambda: nmlab.load_study("quickstart").with_overrides("seeds"), "--set: 'seeds': expected key=value"),
        (lambda: nmlab.load_study("quickstart").with_overrides(preset="full"), "load_study(NAME, preset=...)"),
        (lambda: nmlab.plan(nmlab.load_study("quickstart"), preset="full"), "load_study(NAME, preset=...)"),
        (lambda: nmlab.load_study("quickstart").with_overrides(fixed={"alpha": "much"}), ""),
    ],
)
def test_a_wrong_study_is_one_line_for_each_problem(make, message):
    if not message:
        study = make()  # what a hyperparameter may be, its method says
        with pytest.raises(ValueError, match="alpha"):
            nmlab.plan(study)
        return
    with pytest.raises(nmlab.StudyError) as error:
        make()
    assert not isinstance(error.value, ValidationError)
    assert message in str(error.value)


def test_a_plan_shows_as_text_in_a_notebook_and_as_json(capsys):
    plan = nmlab.plan("quickstart", overrides=["search.samples=3", "seeds=[0]", "baselines=[dense]"])
    assert (plan.trials, plan.configurations) == (4 + 3 * 5, 3)
    assert plan.record()["trials"] == 4 + 3 * 5
    assert len(plan.record()["trial list"]) == plan.record()["settled trials"]
    assert plan.seconds > 0
    assert plan.bytes_needed == plan.record()["memory"]["needed"]
    lines = str(plan).splitlines()
    assert any(line.startswith(f"trials           {plan.trials}") for line in lines)
    assert any(line.startswith("memory") for line in lines)
    assert repr(plan) == str(plan)
    assert plan._repr_html_().startswith("<pre")
    assert capsys.readouterr().out == ""
    frame = plan.frame()
    assert list(frame.columns[:3]) == ["method", "pattern", "seed"]
    assert frame["seed"].dtype == "Int64"

"""Another version of a launch's study: what it adds, what is refused, and that planning it writes nothing."""

import pytest

from nmlab.platform.driver.extend_launch import plan_extension
from nmlab.platform.driver.start_launch import plan_of
from nmlab.platform.launches import launch as launches
from nmlab.platform.launches.journal import Journal
from nmlab.platform.records.events import TrialEnded, TrialSubmitted
from nmlab.platform.sweep import Sweep
from nmlab.search_spaces import loader
from nmlab.trials.files.checked_json import DamagedFileError

SETTINGS = {"tracking_uri": "sqlite:///somewhere.db", "address": None, "max_failures": 3}
SEARCH = "search={algorithm: tpe, samples: 4}"
SMALL = (
    "space={alpha: {choice: [0.9, 0.95, 0.99]}, learning_rate: {loguniform: [0.5, 4]}}",
    "fixed={steps: 4}",
    "baselines=[dense, wanda]",
    "data.validation=null",
    "seeds=[0, 1]",
)
TRIALS = 2 + 4 * 2


def study_with(*overrides):
    return loader.load("quickstart", overrides=[*SMALL, SEARCH, *overrides])


@pytest.fixture
def launch(tmp_path):
    return launches.create(study_with(), results=tmp_path, settings=SETTINGS)


def files(launch):
    return {path: path.read_bytes() for path in launch.folder.rglob("*") if path.is_file()}


def test_it_says_what_changes_and_what_that_adds_and_writes_nothing(launch):
    before = files(launch)
    extension = plan_extension(launch, study_with("search.samples=6", "seeds=[0, 1, 2]"))
    assert extension.lines == (
        f"{launch.name}: version 2 of its study",
        "  search.samples: 4 -> 6",
        "  seeds: [0, 1] -> [0, 1, 2]",
        f"10 trials more: {TRIALS} -> {2 + 6 * 3}",
    )
    assert extension.record()["changes"]["search.samples"] == {"before": 4, "after": 6}
    assert files(launch) == before


def test_configurations_that_failed_get_no_added_seeds(launch):
    journal, plan = Journal(launch), plan_of(launch)
    spec = plan.examples[0]
    for seed, status in ((0, "finished"), (1, "failed")):
        own = spec.model_copy(update={"seed": seed})
        result = {"key": own.key, "status": status, "step": 4, "metrics": {"eval/perplexity": 3.0}, "reason": ""}
        journal.write([TrialSubmitted(key=own.key, spec=own.model_dump(mode="json"))])
        journal.write([TrialEnded(key=own.key, result=result)])
    journal.close()
    assert plan_extension(launch, study_with("seeds=[0, 1, 2]")).trials == TRIALS + 4 - 1


def test_what_adds_no_trial_says_so(launch):
    extension = plan_extension(launch, study_with("replica.count=2", "title=Another"))
    assert extension.lines[-1] == f"no trial more: {TRIALS} in all"
    assert extension.plan.search_version == 1


def test_seeds_and_baselines_keep_their_order(launch):
    """A rule without random numbers runs with the first seed."""
    study = study_with("seeds=[7, 1, 0]", "baselines=[magnitude, wanda, dense]")
    plan = plan_extension(launch, study).plan
    assert (plan.study.seeds, plan.study.baselines) == ((0, 1, 7), ("dense", "wanda", "magnitude"))
    assert plan.search_seeds == (0, 1)
    assert {spec.key for spec in plan_of(launch).baselines} < {spec.key for spec in plan.baselines}


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (("search.samples=3",), "--set search.samples=3: expected 4 or more; configurations that were tried stay"),
        (("seeds=[0, 2]",), "1 is missing, which trials have run with; expected all of [0, 1] and more"),
        (("baselines=[dense]",), "'wanda' is missing, which belongs to the launch"),
        (("fixed.steps=8",), "--set fixed.steps=8: expected 4, as in the launch; all trials of a launch"),
        (("space={alpha: {choice: [0.9, 0.95, 0.99]}}",), "it has 3 configurations; expected 4 or more"),
        ((), "its study has these settings already; expected one that differs"),
        (("seeds=[1, 0]",), "its study has these settings already; expected one that differs"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(launch, overrides, line):
    with pytest.raises(ValueError, match="expected") as refused:
        plan_extension(launch, study_with(*overrides))
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)


def test_several_settings_have_a_line_each(launch):
    with pytest.raises(ValueError, match="fixed") as refused:
        plan_extension(launch, study_with("fixed.steps=8", "search.samples=2"))
    assert len(str(refused.value).splitlines()) == 2


def test_a_damaged_launch_is_refused_with_its_file(launch):
    launch.study_file.write_text(launch.study_file.read_text().replace("samples: 4", "samples: 3"))
    with pytest.raises(DamagedFileError, match=r"study\.yaml, made by nmlab .*, is not the one"):
        plan_extension(launch, study_with("search.samples=6"))


def test_a_damaged_journal_is_refused_with_its_line(launch):
    Journal(launch).close()
    launch.journal_file.write_bytes(launch.journal_file.read_bytes() + b'{"event": "metrics"}\n')
    with pytest.raises(DamagedFileError, match=r"journal\.jsonl is damaged in line 2"):
        plan_extension(launch, study_with("search.samples=6"))


def test_a_launch_is_extended_twice(launch):
    launch.extend(plan_extension(launch, study_with("search.samples=6")).plan.study)
    with pytest.raises(ValueError, match="expected 6 or more"):
        plan_extension(launch, study_with("search.samples=5"))
    plan = plan_extension(launch, study_with("search.samples=6", "seeds=[0, 1, 2]")).plan
    assert (plan.version, plan.search_version, plan.search_seeds) == (3, 3, (0, 1))
    launch.extend(plan.study)
    assert plan_of(launch).study == plan.study
    assert plan_of(launch).earlier == plan.earlier


def test_one_that_was_extended_meanwhile_is_not_extended_by_an_older_plan(launch):
    plan = plan_extension(launch, study_with("search.samples=6")).plan
    launch.extend(study_with("search.samples=8"))
    for sweep in (Sweep(plan, launch, "", None, extends=True), Sweep(plan_of_first(launch), launch, "", None)):
        with pytest.raises(ValueError, match="was extended meanwhile; give the command again"):
            sweep.run()


def plan_of_first(launch):
    """Return the plan that a process made before the launch was extended."""
    whole = plan_of(launch)
    return type(whole).unchecked(whole.earlier[0], facts=whole.facts)


def test_an_edited_file_is_blamed_with_its_line(launch, tmp_path):
    file = tmp_path / "edited.yaml"
    file.write_text(launch.study_file.read_text().replace("samples: 4", "samples: 2"))
    line = 1 + file.read_text().splitlines().index("  samples: 2")
    with pytest.raises(ValueError, match=rf"edited\.yaml.*, line {line}: search.samples 2: expected 4 or more"):
        plan_extension(launch, loader.load(file))

"""What is found wrong with a study before a process is started, and what a plan counts."""

from collections import Counter
from dataclasses import replace

import pytest

from nmlab.platform.planning.study_plan import plan_study
from nmlab.platform.planning.study_trials import baseline_specs, example_specs, longest_trial, trial_spec
from nmlab.platform.search.initial_points import configurations_tried, points
from nmlab.search_spaces import loader
from nmlab.search_spaces.space import grid_points
from nmlab.trials.contract.run_params import CALIBRATION_SAMPLES as SAMPLES
from nmlab.trials.contract.sections import TrialBudget
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.methods import registry

GRID = "search={algorithm: grid}"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["method=maskpr"], "unknown method 'maskpr'; did you mean 'maskpro'?"),
        (["baselines=[dense, wandaa]"], "unknown method 'wandaa'; did you mean 'wanda'?"),
        (["fixed.learning_rat=1"], "unknown hyperparameter of maskpro 'learning_rat'; did you mean 'learning_rate'?"),
        (["space.sampler={choice: [multinomial, gumble]}"], "sampler = 'gumble'"),
        (["space.alpha={uniform: [0.5, 1.5]}"], "alpha = 1.5"),
        (["fixed.initial_mask=wandaa"], "unknown initial_mask 'wandaa'; did you mean 'wanda'?"),
        (["baselines=[{method: magnitude, steps: 3}]"], "magnitude takes no 'steps'"),
        (["pattern='3:2'"], 'did you mean "2:3"?'),
        (["pattern='2:40'"], "1 <= N <= M <= 32"),
        (["pattern='7:13'", "baselines=[]"], "pattern 7:13: M=13 does not divide the input size of model.layers.0."),
        (["pattern={grid: ['2:4', '3:7']}", GRID, "space={}", "baselines=[]"], "pattern 3:7: M=7 does not divide"),
        (["replica.pipeline_stages=3"], "--set replica.pipeline_stages=3: builtin:tiny has 2 decoder blocks"),
        (["data.evaluation.tasks=[no-such.jsonl]"], "task file 'no-such.jsonl' does not exist"),
        pytest.param(
            ["data.evaluation.tasks=[arc_eazy]"],
            "unknown task 'arc_eazy'; did you mean 'arc_easy'?",
            marks=[pytest.mark.slow, pytest.mark.lm_eval],
        ),
        (["data.calibration.samples=1000000"], "1000000 samples were asked"),
        (["data.evaluation.sequence_length=100000"], "the model reads at most"),
        (["model.source=./no/such/model"], "model folder './no/such/model' does not exist"),
        (["data.calibration.source=no-such.txt"], "data file 'no-such.txt' does not exist"),
    ],
)
def test_a_wrong_study_is_refused_in_one_line(overrides, message):
    with pytest.raises(ValueError) as raised:
        plan_study(loader.load("quickstart", overrides=overrides))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_learning_and_evaluation_on_the_same_text_are_refused(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join(f"Sentence {number} is like no other. " for number in range(2000)))
    both = [f"data.{part}.source={text}" for part in ("calibration", "evaluation")]
    small = ["data.calibration.samples=2", "data.calibration.batch_size=2"]
    with pytest.raises(ValueError, match="evaluated on what they learned"):
        plan_study(loader.load("quickstart", overrides=[*both, *small]))
    apart = [f"data.calibration.source='{text}[:80%]'", f"data.evaluation.source='{text}[80%:]'"]
    plan = plan_study(loader.load("quickstart", overrides=[*apart, *small]))
    assert plan.facts.evaluation_windows > 0
    assert plan.facts.text_notes == ()


def test_every_listed_value_is_looked_at_even_where_conditions_keep_names_in_step():
    """The wrong value comes first in its list, and its method second: a walk in step would never let them meet."""
    with pytest.raises(ValueError, match="wandaa"):
        plan_study(
            loader.load(
                "quickstart",
                overrides=[
                    "method={choice: [magnitude, maskpro]}",
                    "fixed={}",
                    "space={initial_mask: {choice: [wandaa, wanda], when: {method: maskpro}}}",
                    "baselines=[dense]",
                ],
            )
        )


def test_a_baseline_that_the_search_runs_too_is_refused():
    """It would be one trial with two roles, and the launch would wait for a trial that never comes."""
    overrides = ["method={grid: [wanda, random]}", "fixed={}", "space={}", GRID]
    with pytest.raises(ValueError, match="wanda 2:4 is a point of the search too"):
        plan_study(loader.load("quickstart", overrides=[*overrides, "baselines=[dense, wanda]"]))
    assert plan_study(loader.load("quickstart", overrides=[*overrides, "baselines=[dense]"])).trials == 1 + 2 * 3
    spelt_out = ["space={steps: {grid: [4, 10000]}}", "fixed={}", GRID, "baselines=[maskpro]"]
    with pytest.raises(ValueError, match="maskpro 2:4 is a point"):
        plan_study(loader.load("quickstart", overrides=spelt_out))


@pytest.mark.parametrize("name", loader.packaged())
def test_packaged_studies_resolve_and_plan_trials_with_keys_of_their_own(name):
    study = loader.load(name)
    plan = plan_study(study)
    configurations = list(points(study)) if study.search.algorithm == "grid" else []
    searched = [trial_spec(study, point, seed=seed) for point in configurations for seed in study.seeds]
    keys = [spec.key for spec in (*plan.baselines, *searched)]
    assert len(keys) == len(set(keys))
    tried = len(configurations) if configurations else study.search.samples
    assert plan.configurations == tried
    assert plan.search_trials == len(plan.baselines) + plan.configurations * len(study.seeds)
    assert plan.facts.prunable > 0
    assert plan.facts.evaluation_windows > 0
    assert plan.facts.text_notes == ()


def test_a_trial_takes_over_every_setting_of_its_study():
    given = {
        "model.dtype": "bfloat16",
        "model.leave_dense": "[v_proj, o_proj]",
        "data.calibration": "{source: a.txt, split: train, column: ' body', samples: {grid: [8, 16]}, batch_size: 2, "
        "micro_batch: 1, sequence_length: 32, seed: 5}",
        "data.evaluation": "{source: b.txt, windowing: rolling, tasks: [quiz.jsonl], few_shot: 0}",
        "budget": "{tokens: 100, forwards: 10, seconds: 5, max_concurrent: 1, time_limit: 1h}",
        "intervals": "{log_every: 3}",
    }
    study = loader.load("quickstart", overrides=[f"{name}={value}" for name, value in given.items()])
    spec = trial_spec(study, {"method": "wanda", "pattern": "2:4", SAMPLES: 16}, seed=3)
    assert (spec.model, spec.evaluation, spec.cadence) == (study.model, study.data.evaluation, study.intervals)
    assert spec.model.leave_dense == ("o_proj", "v_proj")
    assert dict(spec.calibration) == {**dict(study.data.calibration), "samples": 16, "part": None}
    assert spec.calibration.column == " body"
    assert spec.budget == TrialBudget(tokens=100, forwards=10, seconds=5.0)
    again = TrialSpec.from_record(spec.model_dump(mode="json"))
    assert (again, again.key) == (spec, spec.key)


@pytest.mark.parametrize(("source", "part"), [("builtin:python-docs", "learning"), ("a.txt", None)])
def test_a_trial_learns_from_what_its_validation_text_leaves(plan_of, source, part):
    text = f"data.validation={{source: {source}, sequence_length: 32, windows: 3}}"
    study = plan_of(text, "search={algorithm: tpe, samples: 3}").study
    spec = trial_spec(study, next(points(study)), seed=0)
    assert (spec.validation, spec.calibration.part) == (study.data.validation, part)
    assert study.search.metric == "validation/perplexity"
    again = TrialSpec.from_record(spec.model_dump(mode="json"))
    assert (again, again.key) == (spec, spec.key)


def test_seeds_share_a_configuration_and_have_keys_of_their_own(plan_of):
    study = plan_of().study
    point = next(points(study))
    specs = [trial_spec(study, point, seed=seed) for seed in (0, 1)]
    assert specs[0].configuration == specs[1].configuration
    assert specs[0].key != specs[1].key


def test_a_trial_carries_the_defaults_it_was_not_given(plan_of):
    """They are part of what a result depends on, and of what a report shows."""
    study = plan_of().study
    spec = trial_spec(study, {"method": "maskpro", "pattern": "2:4", "steps": 7}, seed=0)
    assert spec.hyperparameters["steps"] == 7
    assert spec.hyperparameters == registry.get("maskpro").config(steps=7).model_dump()


@pytest.mark.parametrize("section", ["intervals.log_every=1", "intervals.checkpoint_every=7", "replica.slots=2"])
def test_how_a_trial_is_watched_and_where_it_runs_does_not_change_its_key(plan_of, section):
    plain, watched = plan_of().study, plan_of(section).study
    point = next(points(plain))
    assert trial_spec(plain, point, seed=0).key == trial_spec(watched, point, seed=0).key


@pytest.mark.parametrize("change", ["data.evaluation.windows=3", "budget.forwards=2", "data.calibration.seed=1"])
def test_whatever_a_result_depends_on_changes_the_key(plan_of, change):
    plain, changed = plan_of().study, plan_of(change).study
    point = next(points(plain))
    assert trial_spec(plain, point, seed=0).key != trial_spec(changed, point, seed=0).key


def test_baselines_run_once_for_everything_they_depend_on(plan_of):
    """Random masks once a seed and pattern, magnitude once a pattern, the dense model once."""
    study = plan_of("pattern={choice: ['2:4', '1:4']}", "baselines=[dense, magnitude, random]").study
    specs = baseline_specs(study)
    assert Counter(spec.method for spec in specs) == {"dense": 1, "magnitude": 2, "random": 4}
    assert len({spec.key for spec in specs}) == 7


@pytest.mark.parametrize(
    ("space", "samples", "tried"),
    [
        ("{alpha: {choice: [0.9, 0.99]}}", 5, 2),
        ("{alpha: {choice: [0.9, 0.99]}}", 1, 1),
        ("{masks_per_step: {int: [1, 3]}, alpha: {choice: [0.9, 0.99]}}", 50, 6),
        ("{alpha: {uniform: [0.9, 0.99]}}", 5, 5),
        (
            "{initial_mask: {choice: [magnitude, wanda]}, alpha: {choice: [0.8, 0.9], when: {initial_mask: wanda}}}",
            9,
            3,
        ),
    ],
)
def test_a_plan_counts_no_more_configurations_than_the_space_has(plan_of, space, samples, tried):
    study = plan_of(f"space={space}", f"search.samples={samples}").study
    assert configurations_tried(study) == tried
    assert plan_study(study).trials == 3 + tried * 2


def test_the_walk_through_a_space_agrees_with_the_grid(plan_of):
    space = (
        "space={initial_mask: {grid: [magnitude, wanda]}, alpha: {grid: [0.8, 0.9], when: {initial_mask: wanda}}, "
        "learning_rate: {grid: [1, 3]}}"
    )
    study = plan_of(GRID, "search.samples=null", space).study
    assert list(points(study)) == grid_points(study)


def test_a_plan_counts_baselines_and_replicates(plan_of):
    plan = plan_of()
    assert plan.trials == 3 + 3 * 2
    assert replace(plan, configurations=5).trials == 3 + 5 * 2


@pytest.mark.parametrize(
    ("overrides", "steps"),
    [
        (["fixed.steps=70"], 70),
        (["space.steps={int: [10, 90]}"], 90),
        (["space={alpha: {grid: [0.9]}, steps: {grid: [30, 20]}}", "fixed={}", GRID, "search.samples=null"], 30),
        (["fixed={}"], registry.get("maskpro").configure({}).model_dump()["steps"]),
        (["method=magnitude", "space={}", "fixed={}", "baselines=[]", GRID], 0),
    ],
)
def test_the_longest_trial_is_what_a_scheduler_may_expect(overrides, steps):
    assert longest_trial(example_specs(loader.load("quickstart", overrides=overrides))) == steps

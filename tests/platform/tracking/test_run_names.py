"""Runs are named by what varies in their study."""

import pytest

from nmlab.platform.planning.study_trials import baseline_specs, trial_spec
from nmlab.platform.tracking.run_names import RunNames, run_name, without_confirmation
from nmlab.trials.contract.paper_names import SYMBOLS, our_names

POINT = {"method": "maskpro", "pattern": "2:4", "alpha": 0.97, "logit_magnitude": 5.0, "initial_mask": "wanda"}


def names_of(study, baselines=()):
    return RunNames.of_studies([study], baselines=baselines)


def test_a_trial_is_called_by_what_the_study_searches_in_the_order_of_its_space(plan_of):
    space = "space={alpha: {choice: [0.9, 0.97]}, logit_magnitude: {choice: [4, 5.0]}, initial_mask: {choice: [wanda]}}"
    study = plan_of(space).study
    spec = trial_spec(study, POINT, seed=3)
    words = names_of(study).words(spec)
    assert words == "maskpro alpha=0.97 C=5 wanda"
    assert run_name(words, seed=spec.seed) == "maskpro alpha=0.97 C=5 wanda, seed 3"


def test_patterns_are_named_where_there_are_several(plan_of):
    study = plan_of("pattern={choice: ['2:4', '4:8']}", "space={alpha: {choice: [0.9, 0.97]}}").study
    assert names_of(study).words(trial_spec(study, POINT, seed=0)) == "maskpro 2:4 alpha=0.97"


def test_baselines_of_one_method_are_told_apart_by_what_differs_in_them(plan_of):
    baselines = "baselines=[wanda, {method: susi, steps: 4}, {method: susi, steps: 6}]"
    study = plan_of(baselines, "space={alpha: {choice: [0.9, 0.97]}}").study
    specs = baseline_specs(study)
    named = {names_of(study, specs).words(spec) for spec in specs}
    assert named == {"wanda", "susi steps=4", "susi steps=6"}


def test_the_seeds_of_a_confirmation_have_words_of_their_own_until_they_are_the_studys(plan_of):
    study = plan_of("space={alpha: {choice: [0.9, 0.97]}}").study
    words = names_of(study).words(trial_spec(study, POINT, seed=7), is_confirmation=True)
    assert words == "maskpro alpha=0.97 (fresh)"
    assert without_confirmation(words) == "maskpro alpha=0.97"
    assert run_name(words, seed=7) == "maskpro alpha=0.97, seed 7 (fresh)"
    assert without_confirmation(run_name(words, seed=7)) == "maskpro alpha=0.97, seed 7"


@pytest.mark.parametrize("name", SYMBOLS)
def test_a_short_name_is_one_that_papers_use(name):
    assert our_names(SYMBOLS[name]) == (name,)


def test_a_hyperparameter_that_was_added_later_is_no_word_while_it_has_its_default(plan_of):
    """As in trial keys: a start from no mask is what every run of SUSI was before it had the choice."""
    given = (
        "baselines=[{method: susi, steps: 4}, {method: susi, steps: 4, initial_logits: saliency, initial_mask: wanda}]"
    )
    study = plan_of(given, "space={initial_mask: {choice: [wanda, magnitude]}}").study
    assert {names_of(study).words(spec) for spec in baseline_specs(study)} == {"susi", "susi wanda"}

"""Every packaged study at every preset against the methods that exist, without a model or a network."""

import pytest
from packaged import AT_EVERY_PRESET

from nmlab.platform.planning.study_plan import check_settings
from nmlab.platform.planning.study_trials import baseline_specs, example_specs
from nmlab.search_spaces import loader

FULL = [(name, preset) for name, preset in AT_EVERY_PRESET if preset not in (None, "small")]


@pytest.mark.parametrize(("name", "preset"), AT_EVERY_PRESET)
def test_methods_and_settings_exist(name, preset):
    check_settings(loader.load(name, preset=preset))


def trials(method):
    """Return every trial of a method in the full studies of the papers that search nothing but what these vary."""
    found = []
    for name, preset in FULL:
        study = loader.load(name, preset=preset)
        papers = [item for item in study.reproduces if not item.startswith("nmlab/")]
        if study.search.algorithm == "grid" and papers:
            specs = [*example_specs(study), *baseline_specs(study)]
            found += [(study.name, spec) for spec in specs if spec.method == method]
    return found


def given(found, name):
    return {spec.hyperparameters[name] for _, spec in found}


def test_maskpro_runs_with_the_settings_of_its_table_2():
    found = [pair for pair in trials("maskpro") if "memory" not in pair[0]]
    assert {spec.calibration.batch_size for _, spec in found} == {32}
    assert given(found, "alpha") == {0.7, 0.9, 0.95, 0.99, 0.995}
    magnitudes = {name: spec.hyperparameters["logit_magnitude"] for name, spec in found if spec.model.source in SEVEN}
    assert {value for name, value in magnitudes.items() if "magnitude" not in name and "losses" not in name} == {10.0}
    ordinary = [pair for pair in found if not any(word in pair[0] for word in APART)]
    assert given(ordinary, "learning_rate") == {50.0, 100.0}
    assert given(ordinary, "steps") == {10_000}
    assert given([pair for pair in found if "long" in pair[0]], "steps") == {20_000, 30_000, 50_000, 70_000}
    samples = {spec.calibration.samples for name, spec in found if name == "maskpro-samples-full"}
    assert samples == {1, 32, 128, 320_000}


# Studies that take other steps or rates for what they ask.
APART = ("estimators", "initial-losses", "step-time", "long", "loss-spread")
SEVEN = {
    "meta-llama/Llama-2-7b-hf",
    "lmsys/vicuna-7b-v1.3",
    "google/gemma-7b",
    "deepseek-ai/deepseek-llm-7b-base",
}


def test_susi_runs_with_the_settings_of_its_table_6():
    found = trials("susi")
    expected = {
        "steps": 2000,
        "learning_rate": 0.001,
        "weight_decay": 0.05,
        "tau_init": 1.0,
        "tau_end": 0.05,
        "lambda_init": 1.0,
        "lambda_end": 0.002,
        "initial_std": 0.01,
    }
    assert {name: given(found, name) for name in expected} == {name: {value} for name, value in expected.items()}
    assert given(found, "anneal_steps") == {None}  # three quarters of the steps: 1500
    texts = {(spec.calibration.batch_size, spec.calibration.sequence_length) for _, spec in found}
    assert texts == {(256, 4096)}
    assert all(spec.calibration.samples == 2000 * 256 for _, spec in found)  # each read once: 2.1 billion tokens


def test_rules_read_128_samples_where_the_others_read_a_whole_text():
    rules = [spec for method in ("wanda", "sparsegpt") for name, spec in trials(method) if name.startswith("susi-")]
    assert rules
    assert {spec.calibration.samples for spec in rules} == {128}


@pytest.mark.parametrize("name", loader.packaged())
def test_a_small_form_repeats_what_is_random(name):
    study = loader.load(name)
    learned = study.search.metrics[0].startswith(("eval/", "validation/"))
    assert len(study.seeds) >= 2 or not learned
    assert study.replica.count == 2
    assert study.replica.slots == 1

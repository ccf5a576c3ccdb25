"""What every method promises, checked for every method that is registered: a new one is picked up by its name."""

import pickle

import pytest
import safetensors.torch
import torch

from nmlab.trials import registry
from nmlab.trials.cost import Cost
from nmlab.trials.masks.topn import check_mask
from nmlab.trials.method import Method, MethodConfig
from nmlab.trials.pattern import Pattern

PATTERNS = ["1:4", "2:4", "2:8", "4:8", "8:16"]
STEPS = 6
METHODS = registry.names()
LEARNED = [name for name in METHODS if registry.get(name).learned]
ONE_SHOT = [name for name in METHODS if not registry.get(name).learned]


def _config(method: Method) -> MethodConfig:
    return method.configure({"steps": STEPS} if "steps" in method.config.model_fields else {})


@pytest.fixture
def start(make_setting):
    """Begin a short run of a method by its name, or skip where the method refuses the pattern."""

    def begin(name, pattern="2:4", *, seed=0):
        method = registry.get(name)
        if reason := method.refuse(Pattern.parse(pattern), _config(method)):
            pytest.skip(reason)
        return method.start(make_setting(pattern, seed=seed), _config(method))

    return begin


def _walk(run, *, begin=0):
    return [dict(run.step(step)) for step in range(begin, run.steps)]


def _assert_exact(masks, layers, pattern):
    assert masks.keys() == {layer.name for layer in layers}
    for layer in layers:
        assert masks[layer.name].shape == (layer.out_features, layer.in_features)
        check_mask(masks[layer.name], Pattern.parse(pattern), name=layer.name)


def _assert_same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", METHODS)
def test_masks_are_exact_before_and_after_learning(start, bench, name, pattern):
    run = start(name, pattern)
    layers = bench.frozen.layers if registry.get(name).sparse else ()
    _assert_exact(run.masks(), layers, pattern)
    _walk(run)
    _assert_exact(run.masks(), layers, pattern)
    if (initial := run.initial_masks()) is not None:
        _assert_exact(initial, layers, pattern)
    assert (initial is not None) is registry.get(name).learned
    assert bench.frozen.unchanged()


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", METHODS)
def test_one_seed_gives_one_result(start, name, pattern):
    first, second = start(name, pattern), start(name, pattern)
    assert _walk(first) == _walk(second)
    _assert_same(first.masks(), second.masks())
    _assert_same(first.state(), second.state())
    assert first.observe() == second.observe()


@pytest.mark.parametrize("name", METHODS)
def test_the_seed_matters_where_the_method_says_so(start, name):
    first, second = start(name, seed=0), start(name, seed=1)
    _walk(first)
    _walk(second)
    mine, others = [{**run.masks(), **run.state()} for run in (first, second)]
    same = all(torch.equal(mine[key], others[key]) for key in mine)
    assert same is not registry.get(name).depends_on_seed


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("name", LEARNED)
def test_a_run_goes_on_from_its_saved_state(start, name, pattern):
    undisturbed, before, after = (start(name, pattern) for _ in range(3))
    told = _walk(undisturbed)
    half = STEPS // 2
    assert [dict(before.step(step)) for step in range(half)] == told[:half]
    after.load_state(safetensors.torch.load(safetensors.torch.save(before.state())))
    assert _walk(after, begin=half) == told[half:]
    _assert_same(after.masks(), undisturbed.masks())
    _assert_same(after.state(), undisturbed.state())


@pytest.mark.parametrize("name", LEARNED)
def test_every_step_tells_the_same_names(start, name):
    """Curves are columns: a quantity that some steps leave out would slip against the others."""
    run = start(name)
    assert run.steps == STEPS
    told = _walk(run)
    assert all(values.keys() == told[0].keys() for values in told)
    assert "train/loss" in told[0]
    every = {**told[0], **run.observe()}
    assert all(key.startswith("train/") for key in every)
    assert all(isinstance(value, float | int) for values in [*told, every] for value in values.values())


@pytest.mark.parametrize("name", ONE_SHOT)
def test_a_method_that_learns_nothing_has_no_steps_and_no_state(start, name):
    run = start(name)
    assert (run.steps, run.state(), run.state_bytes) == (0, {}, 0)


@pytest.mark.parametrize("name", LEARNED)
def test_the_memory_of_the_state_is_plausible(start, bench, name):
    run, weights = start(name), sum(layer.numel for layer in bench.frozen.layers)
    saved = sum(tensor.numel() * tensor.element_size() for tensor in run.state().values())
    assert saved > weights / 8  # a mask that can differ from its start takes a bit a weight at least
    assert saved <= run.state_bytes <= 64 * weights + 10_000


@pytest.mark.parametrize("name", LEARNED)
def test_learning_is_accounted_for(make_setting, name):
    setting, method = make_setting(), registry.get(name)
    run = method.start(setting, _config(method))
    before = Cost(**vars(setting.cost))
    _walk(run)
    assert setting.cost.forwards - before.forwards >= STEPS
    assert setting.cost.tokens - before.tokens >= STEPS * setting.batches[0].numel()
    assert setting.cost.trainable_params > 0


@pytest.mark.parametrize("name", METHODS)
def test_methods_and_configurations_travel_between_processes(name):
    method, config = registry.get(name), _config(registry.get(name))
    assert type(pickle.loads(pickle.dumps(method))) is type(method)
    assert pickle.loads(pickle.dumps(config)) == config
    assert method.configure(config.model_dump()) == config
    assert method.config.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize("name", METHODS)
def test_every_method_does_2_of_4_by_default_and_explains_itself(name):
    method = registry.get(name)
    assert method.refuse(Pattern(2, 4), method.configure({})) is None
    assert all([method.about.summary, method.about.paper, method.about.cost, method.about.patterns])
    assert all(field.description for field in method.config.model_fields.values())
    with pytest.raises(ValueError, match="no_such_name"):
        method.configure({"no_such_name": 1})

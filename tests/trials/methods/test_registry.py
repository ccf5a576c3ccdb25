"""Methods by name, and the error for an unknown name."""

import ast
import doctest
import inspect
import sys
import textwrap

import pytest
import torch

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.methods import base, one_shot, registry
from nmlab.trials.methods.base import Method, Run
from nmlab.trials.methods.initial_masks import initial_mask, initial_mask_methods


def test_every_name_gives_its_method():
    assert {"dense", "random", "magnitude", "wanda", "maskpro"} <= set(registry.names())
    for name in registry.names():
        assert isinstance(registry.get(name), Method)
        assert registry.get(name).name == name
        assert registry.get(name) is registry.get(name)


def imported_by(start):
    """Return the modules that a function imports, and the functions of its module and of one_shot that it calls."""
    modules, seen, left = set(), set(), [start]
    while left:
        function = left.pop()
        seen.add(function)
        nodes = list(ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))))
        modules |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        called = [vars(inspect.getmodule(function)).get(node.id) for node in nodes if isinstance(node, ast.Name)]
        places = (start.__module__, one_shot.__name__)
        left += [each for each in called if inspect.isfunction(each) and each.__module__ in places and each not in seen]
    return modules


@pytest.mark.parametrize("name", registry.names())
def test_a_trial_imports_what_its_start_needs_before_its_clock_runs(name):
    """The modules that ``start`` imports are those that ``Method.imports`` names, which `registry.load` imports."""
    method = registry.get(name)
    assert set(method.imports) == imported_by(type(method).start)
    assert registry.load(name) is method
    assert set(method.imports) <= set(sys.modules)


def test_a_method_whose_modules_are_missing_is_named(monkeypatch):
    monkeypatch.setattr(registry.get("wanda"), "imports", ("no_such_module_here",))
    with pytest.raises(ValueError, match="method 'wanda' of nmlab: cannot import no_such_module_here: No module"):
        registry.load("wanda")


@pytest.mark.parametrize(("given", "nearest"), [("mask-pro", "maskpro"), ("Wanda", "wanda"), ("magnitud", "magnitude")])
def test_an_unknown_method_gives_the_nearest_name(given, nearest):
    with pytest.raises(ValueError, match=f"unknown method '{given}'; did you mean '{nearest}'"):
        registry.get(given)


def test_masks_to_begin_with_are_those_of_one_shot_methods(make_context):
    assert {"random", "magnitude", "wanda"} <= set(initial_mask_methods())
    assert not {"dense", "maskpro"} & set(initial_mask_methods())
    with pytest.raises(ValueError, match="unknown initial_mask 'magnitud'; did you mean 'magnitude'"):
        initial_mask("magnitud", make_context())


def test_an_initial_mask_is_computed_once_for_all_that_start_there(random_model, freeze, make_context):
    calls, module = [], random_model("llama")
    module.register_forward_hook(lambda *_: calls.append(1))  # views are copies, hooks included
    replica = ReplicaContext(freeze(module))
    contexts = [make_context(pattern, seed=seed, on=replica) for pattern, seed in [("2:4", 0), ("2:4", 1), ("1:4", 0)]]
    (first, once), (again, still), (other, twice) = (
        (initial_mask("wanda", context), len(calls)) for context in contexts
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)
    assert 0 < once == still < twice == 2 * once  # once for each pattern, not for each trial


def test_an_initial_mask_drawn_at_random_is_the_trials_own(make_context):
    zero, one, again = (initial_mask("random", make_context(seed=seed)) for seed in (0, 1, 0))
    assert any(not torch.equal(zero[name], one[name]) for name in zero)
    assert all(torch.equal(zero[name], again[name]) for name in zero)


@pytest.mark.parametrize(
    ("base", "old", "new"),
    [
        (Method, "refuse", "unsupported_reason"),
        (Method, "refuse_text", "unsupported_text_reason"),
        (Method, "shardable", "supports_pipeline_stages"),
        (Run, "extras", "diagnostics"),
    ],
)
def test_an_override_by_an_earlier_name_is_refused_and_not_passed_over(base, old, new):
    with pytest.raises(TypeError, match=f"Mine.{old} is called {new} now"):
        type("Mine", (base,), {old: lambda self: None})


def test_the_example_of_the_contract_is_a_whole_method(make_context):
    parsed = doctest.DocTestFinder().find(base, name="base", globs={**vars(base), "context": make_context("2:4")})
    ran = [doctest.DocTestRunner().run(example) for example in parsed if example.examples]
    assert [result.failed for result in ran] == [0]
    assert ran[0].attempted > 5

"""The searcher proposes what confirms a search once all of it has ended, and the search learns nothing from it."""

import pickle

import pytest
from ray.tune.search import Searcher

from nmlab.platform.search.strategies import strategy_of
from nmlab.platform.tuning.searcher import ReplicateSearcher
from nmlab.platform.tuning.tune import TuneWatch
from nmlab.trials.contract.trial_spec import TrialSpec

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


class Asked:
    """Returns fresh seeds of two trials, and notes when it was asked."""

    def __init__(self, plan):
        self.specs = [spec.model_copy(update={"seed": 7}) for spec in plan.baselines[1:]]
        self.times = []

    def __call__(self):
        self.times.append("asked")
        return self.specs


@pytest.fixture(params=["random", "tpe", "grid"])
def plan(request, plan_of):
    if request.param == "grid":
        return plan_of("search={algorithm: grid}", "space={alpha: {grid: [0.9, 0.99]}}")
    return plan_of(f"search.algorithm={request.param}")


@pytest.fixture
def asked(plan):
    return Asked(plan)


class CountingStrategy:
    """A strategy that counts what it is told."""

    def __init__(self, strategy):
        self._strategy, self.numbers = strategy, []

    def __getattr__(self, name):
        return getattr(self._strategy, name)

    def tell(self, number, outcome):
        self.numbers.append(number)
        self._strategy.tell(number, outcome)


def searcher_of(plan, folder, after_search, *, ended=None):
    strategy = CountingStrategy(strategy_of(plan.study, journal=folder / "optuna.journal"))
    searcher = ReplicateSearcher(
        plan,
        strategy,
        dispatcher="dispatcher",
        namespace="test",
        ended=ended or {},
        evaluated={},
        stopped_early=(),
        after_search=after_search,
        metric_mode=("eval/perplexity", "min"),
    )
    return searcher, strategy


def finished(spec):
    return {"status": "finished", "step": 4, "eval/perplexity": 10.0 + spec.seed}


def run(searcher, *, at_once=2):
    """Run trials until there are no more; return them in their order."""
    running, done = [], []
    while True:
        suggestion = searcher.suggest(f"trial-{len(done) + len(running)}")
        if isinstance(suggestion, dict):
            running.append((f"trial-{len(done) + len(running)}", TrialSpec.model_validate(suggestion["spec"])))
        if running and (len(running) == at_once or not isinstance(suggestion, dict)):
            name, spec = running.pop(0)
            searcher.on_trial_result(name, {"step": 2, "eval/perplexity": 50.0})
            searcher.on_trial_complete(name, result=finished(spec))
            done.append(spec)
        elif suggestion == Searcher.FINISHED:
            return done


def test_it_follows_the_search_and_the_search_learns_nothing(plan, asked, tmp_path):
    searcher, strategy = searcher_of(plan, tmp_path, asked)
    done = run(searcher)
    assert [spec.key for spec in done[-len(asked.specs) :]] == [spec.key for spec in asked.specs]
    assert len(done) == plan.search_trials + len(asked.specs)
    assert asked.times == ["asked"]
    assert sorted(strategy.numbers) == list(range(plan.configurations))


def test_it_is_not_asked_for_while_a_trial_of_the_search_runs(plan, asked, tmp_path):
    searcher, _ = searcher_of(plan, tmp_path, asked)
    running = []
    while isinstance(suggestion := searcher.suggest(f"trial-{len(running)}"), dict):
        running.append((f"trial-{len(running)}", TrialSpec.model_validate(suggestion["spec"])))
    assert suggestion is None
    for name, spec in running[:-1]:
        searcher.on_trial_complete(name, result=finished(spec))
    if plan.study.search.algorithm != "tpe" or len(running) == plan.search_trials:
        assert searcher.suggest("one more") is None
    assert asked.times == []


def test_what_has_ended_before_is_not_run_again(plan, asked, tmp_path):
    first, _ = searcher_of(plan, tmp_path, asked)
    done = run(first)
    ended = {spec.key: finished(spec) for spec in done[:-1]}
    second, _ = searcher_of(plan, tmp_path, asked, ended=ended)
    assert run(second) == done[-1:]


def test_a_trial_of_it_whose_actor_is_lost_is_proposed_again_and_fails_after_too_many(plan, asked, tmp_path):
    searcher, strategy = searcher_of(plan, tmp_path, asked)
    names = []
    while (suggestion := searcher.suggest(f"trial-{len(names)}")) != Searcher.FINISHED:
        names.append(suggestion["key"])
        spec = TrialSpec.model_validate(suggestion["spec"])
        is_lost = spec.key == asked.specs[0].key
        searcher.on_trial_complete(f"trial-{len(names) - 1}", result=None if is_lost else finished(spec), error=is_lost)
    assert names.count(asked.specs[0].key) == 4
    assert len(strategy.numbers) == plan.configurations


def test_ray_can_pickle_what_asks_the_sweep(plan, asked, tmp_path):
    """Plain pickle refuses threads and lambdas, and Ray pickles searchers and callbacks with it."""
    watch = TuneWatch(lambda: None, lambda key, error: None, after_search=lambda: asked())
    searcher, _ = searcher_of(plan, tmp_path, watch.after_search)
    searcher._strategy = strategy_of(plan.study, journal=tmp_path / "other.journal")
    pickle.dumps(searcher)

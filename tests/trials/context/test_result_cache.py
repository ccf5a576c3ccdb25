"""The results that a replica caches are bounded by bytes, and none that a running trial uses is dropped."""

import threading

import pytest
import torch

from nmlab.trials.context.replica_context import ReplicaContext
from nmlab.trials.context.result_cache import ResultCache, bytes_of
from nmlab.trials.testing.small import small_replica, small_spec, small_text
from nmlab.trials.trial.run import run_trial

KB = 1000


class Asked:
    """Asks a cache for results of a given size and counts how often each is computed."""

    def __init__(self, budget):
        self.cache, self.computed = ResultCache(budget), []

    def __call__(self, key, size=KB):
        def compute():
            self.computed.append(key)
            return torch.zeros(size, dtype=torch.uint8)

        return self.cache.get_or_compute(key, compute)


def test_the_least_recently_used_goes_first():
    ask = Asked(3 * KB + 3 * 256)
    for key in ("a", "b", "c", "a", "d"):
        ask(key)
    assert ask.computed == ["a", "b", "c", "d"]
    assert ask.cache.nbytes <= ask.cache.budget
    ask("a"), ask("c"), ask("d")
    assert ask.computed == ["a", "b", "c", "d"], "only b was dropped"
    ask("b")
    assert ask.computed[4:] == ["b"]


def test_it_never_grows_beyond_its_budget_where_no_trial_runs():
    ask = Asked(10 * KB)
    for number in range(200):
        ask(number, size=number * 37 % (4 * KB))
        assert ask.cache.nbytes <= ask.cache.budget
    many = Asked(10 * KB)
    for number in range(200):
        many(number, size=0)
    assert len(many.cache._entries) < 50, "empty entries count too"


def test_results_of_a_running_trial_stay_whatever_the_budget():
    ask = Asked(KB)
    with ask.cache.in_use():
        kept = [ask(key, size=5 * KB) for key in "abc"]
        assert all(ask(key) is value for key, value in zip("abc", kept, strict=True))
        assert ask.computed == ["a", "b", "c"]
        assert ask.cache.nbytes > 15 * KB
    assert ask.cache.nbytes <= KB, "the trial has ended"


def test_a_result_of_two_trials_stays_until_both_have_ended():
    ask, first_has, first_may_end = Asked(KB), threading.Event(), threading.Event()

    def first():
        with ask.cache.in_use():
            ask("norms", size=5 * KB)
            first_has.set()
            first_may_end.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert first_has.wait(10)
    with ask.cache.in_use():
        ask("norms")
        first_may_end.set()
        thread.join(10)
        ask("norms")
        assert ask.computed == ["norms"]
    ask("norms")
    assert ask.computed == ["norms", "norms"]


def test_a_failed_computation_leaves_nothing():
    cache = ResultCache(KB)
    with cache.in_use(), pytest.raises(OSError, match="disk"):
        cache.get_or_compute("key", lambda: (_ for _ in ()).throw(OSError("disk")))
    assert not cache._entries


def test_bytes_are_those_of_all_tensors_within():
    assert bytes_of({"a": torch.zeros(10), "b": [torch.zeros(5), (torch.zeros(2, dtype=torch.int64),)]}) >= 40 + 20 + 16
    assert bytes_of({"a": torch.zeros(10)}) < 200


class Quiet:
    def metrics(self, step, values): ...

    def cancelled(self):
        return False


@pytest.mark.slow
def test_a_recomputation_is_charged_to_the_trial_that_asked_for_it(tmp_path):
    """Both trials are charged what the method costs alone; the second has no shared cost if it computed again."""
    text, shared = small_text(tmp_path), []
    for budget in (0, 2**30):
        replica = ReplicaContext(small_replica().frozen, cache_bytes=budget)
        specs = [small_spec("gblm", text=text, pattern=pattern) for pattern in ("2:4", "1:4")]
        places = [tmp_path / f"{budget}-{number}" for number in range(2)]
        results = [
            run_trial(spec, replica=replica, folder=place, events=Quiet())
            for spec, place in zip(specs, places, strict=True)
        ]
        alone, other = (result.metrics for result in results)
        assert alone["cost/forwards"] == other["cost/forwards"] > 0
        assert alone["cost/backwards"] == other["cost/backwards"] > 0
        assert alone["cost/spent_backwards"] == alone["cost/backwards"]
        shared.append(other["cost/spent_backwards"])
        if not budget:
            assert replica.results.nbytes == 0
    assert shared == [alone["cost/backwards"], 0.0]


class _Rank:
    """One of two ranks of a pipeline group, each a thread with its own cache."""

    size = 2

    def __init__(self, rank, given, barrier):
        self.leads, self._rank, self._given, self._barrier = rank == 0, rank, given, barrier

    def all_gather(self, value):
        self._given[self._rank] = value
        self._barrier.wait(10)
        found = list(self._given)
        self._barrier.wait(10)
        return found


def test_ranks_whose_caches_dropped_different_results_recompute_them_together():
    """Stages of a model differ in size, so one rank may have dropped a result that another still has; no deadlock."""
    given, barrier, computed = [None, None], threading.Barrier(2), []
    caches = [ResultCache(10**6), ResultCache(100)]

    def ask(rank):
        pipeline = _Rank(rank, given, barrier)
        for key in ("a", "b", "a"):
            caches[rank].get_or_compute(key, lambda key=key: computed.append((rank, key)), pipeline=pipeline)

    threads = [threading.Thread(target=ask, args=(rank,), daemon=True) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "deadlock"
    assert sorted(computed) == [(rank, key) for rank in range(2) for key in "aab"]

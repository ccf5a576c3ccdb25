"""What the searcher promises whatever proposes the configurations: replicates, baselines, resuming, pickling."""

import pickle
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from nmlab.platform.planning.study_plan import Plan
from nmlab.platform.search.strategies import Outcome, proposals_of
from nmlab.platform.tuning.searcher import ReplicateSearcher
from nmlab.trials.spec import TrialSpec

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
_TWO = "search={algorithm: nsga2, samples: 3, metric: [eval/perplexity, cost/forwards], mode: [min, min]}"
ALGORITHMS = {
    "grid": (
        "search={algorithm: grid}",
        "space={alpha: {grid: [0.9, 0.99]}, initial_mask: {choice: [magnitude, wanda]}}",
    ),
    "random": ("search.algorithm=random",),
    "tpe": ("search.algorithm=tpe",),
    "nsga2": (_TWO,),
}


@dataclass
class Bench:
    """A study's searcher, its journal, and the results that an earlier process would have written down."""

    plan: Plan
    journal: Path
    ended: dict[str, Any] = field(default_factory=dict)
    suggested: list[TrialSpec] = field(default_factory=list)

    def searcher(self, proposals: Any = None) -> ReplicateSearcher:
        search = self.plan.study.search
        return ReplicateSearcher(
            self.plan,
            proposals or proposals_of(self.plan.study, journal=self.journal),
            dispatcher="dispatcher",
            namespace="test",
            ended=self.ended,
            evaluated={},
            stopped=(),
            metric_mode=(search.metrics[0], search.modes[0]),
        )

    def ask(self, searcher: ReplicateSearcher) -> tuple[str, TrialSpec] | None:
        """Return Tune's next trial, or None where there is none, or none as long as others are out."""
        trial_id = f"trial-{len(self.suggested)}"
        suggestion = searcher.suggest(trial_id)
        if suggestion is None or suggestion == Searcher.FINISHED:
            return None
        spec = TrialSpec.model_validate(suggestion["spec"])
        assert suggestion["key"] == spec.key
        self.suggested.append(spec)
        return trial_id, spec

    def complete(self, searcher: ReplicateSearcher, trial_id: str, spec: TrialSpec) -> None:
        result = result_of(spec)
        searcher.on_trial_complete(trial_id, result=result)
        self.ended[spec.key] = result

    def run(self, searcher: ReplicateSearcher, *, trials: int = 1000, at_once: int = 2) -> None:
        """Run at most so many trials, some at once, in the order in which they were asked."""
        running: list[tuple[str, TrialSpec]] = []
        while trials > 0 and (asked := self.ask(searcher)) is not None:
            running.append(asked)
            if len(running) == at_once:
                self.complete(searcher, *running.pop(0))
                trials -= 1
        for trial_id, spec in running[:trials]:
            self.complete(searcher, trial_id, spec)

    @property
    def searched(self) -> list[TrialSpec]:
        baselines = {spec.key for spec in self.plan.baselines}
        return [spec for spec in self.suggested if spec.key not in baselines]


def result_of(spec: TrialSpec) -> dict[str, Any]:
    """A finished trial whose perplexity depends on its configuration and its seed."""
    perplexity = 10.0 + int(spec.configuration, 16) % 97 + spec.seed
    return {"status": "finished", "step": 4, "eval/perplexity": perplexity, "cost/forwards": 4.0}


class Listening:
    """A source of proposals that notes what it is told, and does not pass it on where it is deaf."""

    def __init__(self, proposals: Any, *, deaf: bool = False) -> None:
        self._proposals, self._deaf = proposals, deaf
        self.told: list[tuple[int, Outcome]] = []

    def open(self) -> Any:
        return self._proposals.open()

    def failed(self) -> Any:
        return self._proposals.failed()

    def next(self) -> Any:
        return self._proposals.next()

    def tell(self, number: int, outcome: Outcome) -> None:
        self.told.append((number, outcome))
        if not self._deaf:
            self._proposals.tell(number, outcome)


@pytest.fixture(params=ALGORITHMS)
def bench(request, plan_of, tmp_path):
    return Bench(plan_of(*ALGORITHMS[request.param]), tmp_path / "optuna.journal")


def every_planned_trial_runs_once(bench: Bench) -> None:
    bench.run(bench.searcher())
    keys = [spec.key for spec in bench.suggested]
    assert len(keys) == len(set(keys)) == bench.plan.trials


def seeds_are_replicates_of_one_configuration(bench: Bench) -> None:
    bench.run(bench.searcher())
    seeds: dict[str, list[int]] = {}
    for spec in bench.searched:
        seeds.setdefault(spec.configuration, []).append(spec.seed)
    assert len(seeds) == bench.plan.configurations
    assert set(map(tuple, seeds.values())) == {bench.plan.study.seeds}


def baselines_come_first_and_once(bench: Bench) -> None:
    bench.run(bench.searcher())
    count = len(bench.plan.baselines)
    assert count == 3
    assert [spec.key for spec in bench.suggested[:count]] == [spec.key for spec in bench.plan.baselines]
    assert Counter(spec.method for spec in bench.suggested[count:]) == {"maskpro": bench.plan.trials - count}


def the_search_hears_of_a_configuration_once_and_when_all_its_seeds_have_ended(bench: Bench) -> None:
    listening = Listening(proposals_of(bench.plan.study, journal=bench.journal))
    bench.run(bench.searcher(listening), at_once=5)
    assert sorted(number for number, _ in listening.told) == list(range(bench.plan.configurations))
    by_configuration: dict[str, list[float]] = {}
    for spec in bench.searched:
        by_configuration.setdefault(spec.configuration, []).append(result_of(spec)["eval/perplexity"])
    means = sorted(sum(values) / len(values) for values in by_configuration.values())
    assert sorted(outcome.values[0] for _, outcome in listening.told) == pytest.approx(means)


def a_killed_search_goes_on_without_running_anything_again(bench: Bench) -> None:
    """Cut off anywhere, with trials under way: those run again, and no others."""
    for cut in range(bench.plan.trials + 1):
        here = Bench(bench.plan, bench.journal.with_name(f"cut-{cut}"))
        here.run(here.searcher(), trials=cut)
        done, started = set(here.ended), {spec.key for spec in here.suggested}
        assert len(done) == cut
        here.suggested.clear()
        here.run(here.searcher())
        again = {spec.key for spec in here.suggested}
        assert not again & done
        assert started - done <= again
        assert len(here.suggested) == len(again) == here.plan.trials - cut


def a_finished_search_has_nothing_left_for_a_second_process(bench: Bench) -> None:
    bench.run(bench.searcher())
    bench.suggested.clear()
    assert bench.ask(bench.searcher()) is None


def plain_pickle_keeps_the_search_where_it_stands(bench: Bench) -> None:
    """Ray saves searchers with plain pickle, which refuses closures and lambdas."""
    searcher = bench.searcher()
    asked = [bench.ask(searcher) for _ in range(4)]
    restored = pickle.loads(pickle.dumps(searcher))
    for trial_id, spec in filter(None, asked):
        bench.complete(restored, trial_id, spec)
    bench.run(restored)
    assert len({spec.key for spec in bench.suggested}) == len(bench.suggested) == bench.plan.trials


def the_same_history_gives_the_same_search(bench: Bench) -> None:
    other = Bench(bench.plan, bench.journal.with_name("other"))
    for each in (bench, other):
        each.run(each.searcher())
    assert [spec.key for spec in bench.suggested] == [spec.key for spec in other.suggested]


def what_ended_before_a_crash_is_told_afterwards(bench: Bench) -> None:
    """The process died after the last trials had ended and before the search had heard of any."""
    bench.run(bench.searcher(Listening(proposals_of(bench.plan.study, journal=bench.journal), deaf=True)))
    bench.suggested.clear()
    listening = Listening(proposals_of(bench.plan.study, journal=bench.journal))
    bench.run(bench.searcher(listening))
    assert bench.suggested == []
    assert sorted(number for number, _ in listening.told) == list(range(bench.plan.configurations))


def a_trial_that_tune_gives_up_is_proposed_again(bench: Bench) -> None:
    """Whichever it is, the last as well; after as many as are allowed, it is one that failed."""
    for victim in range(bench.plan.trials):
        here = Bench(bench.plan, bench.journal.with_name(f"victim-{victim}"))
        listening = Listening(proposals_of(here.plan.study, journal=here.journal))
        searcher = here.searcher(listening)
        for number in range(here.plan.trials):
            asked = here.ask(searcher)
            assert asked is not None
            for _ in range(3 if number == victim else 0):
                searcher.on_trial_complete(asked[0], error=True)
                again = here.ask(searcher)
                assert again is not None
                assert again[1] == asked[1]
                asked = again
            here.complete(searcher, *asked)
        assert searcher.suggest("one more") == Searcher.FINISHED
        assert all(outcome.values for _, outcome in listening.told)


def a_trial_that_tune_gives_up_too_often_has_failed(bench: Bench) -> None:
    listening = Listening(proposals_of(bench.plan.study, journal=bench.journal))
    searcher, victim = bench.searcher(listening), ""
    while asked := bench.ask(searcher):
        trial_id, spec = asked
        victim = victim or (spec.key if spec in bench.searched else "")
        if spec.key == victim:
            searcher.on_trial_complete(trial_id, error=True)
        else:
            bench.complete(searcher, trial_id, spec)
    assert Counter(spec.key for spec in bench.suggested)[victim] == 4
    assert [outcome.values for _, outcome in listening.told].count(None) == 1


def the_search_is_not_over_while_a_trial_is_out(bench: Bench) -> None:
    searcher, out = bench.searcher(), []
    while asked := bench.ask(searcher):
        out.append(asked)
    for trial_id, spec in out:
        assert searcher.suggest("one more") is None
        bench.complete(searcher, trial_id, spec)
    while asked := bench.ask(searcher):
        bench.complete(searcher, *asked)
    assert searcher.suggest("one more") == Searcher.FINISHED


def a_trial_that_failed_is_run_again_by_a_resumed_launch_and_no_other(bench: Bench) -> None:
    """The search heard that its configuration failed, and keeps to it; the launch ends with every planned run."""
    searcher, victim = bench.searcher(), None
    while asked := bench.ask(searcher):
        trial_id, spec = asked
        if victim is None and spec in bench.searched:
            victim = spec
            searcher.on_trial_complete(trial_id, result={"status": "failed", "step": 2})
        else:
            bench.complete(searcher, trial_id, spec)
    for _ in range(2):
        bench.suggested.clear()
        bench.run(bench.searcher())
        assert bench.suggested == [victim]
        del bench.ended[victim.key]


def a_configuration_whose_trial_was_stopped_otherwise_stays_open(bench: Bench) -> None:
    """No time was left, or Ctrl-C: the search is told nothing, and the next process runs the trial again."""
    listening = Listening(proposals_of(bench.plan.study, journal=bench.journal))
    searcher, cut = bench.searcher(listening), None
    while asked := bench.ask(searcher):
        trial_id, spec = asked
        if cut is None and spec in bench.searched:
            cut = spec
            searcher.on_trial_complete(trial_id, result={"step": 2, "eval/perplexity": 9.0})
        else:
            bench.complete(searcher, trial_id, spec)
    assert len(listening.told) == bench.plan.configurations - 1
    bench.suggested.clear()
    again = Listening(proposals_of(bench.plan.study, journal=bench.journal))
    bench.run(bench.searcher(again))
    assert bench.suggested == [cut]
    assert all(outcome.values for _, outcome in again.told)


CHECKS = [
    every_planned_trial_runs_once,
    seeds_are_replicates_of_one_configuration,
    baselines_come_first_and_once,
    the_search_hears_of_a_configuration_once_and_when_all_its_seeds_have_ended,
    a_killed_search_goes_on_without_running_anything_again,
    a_finished_search_has_nothing_left_for_a_second_process,
    plain_pickle_keeps_the_search_where_it_stands,
    the_same_history_gives_the_same_search,
    what_ended_before_a_crash_is_told_afterwards,
    a_trial_that_tune_gives_up_is_proposed_again,
    a_trial_that_tune_gives_up_too_often_has_failed,
    the_search_is_not_over_while_a_trial_is_out,
    a_trial_that_failed_is_run_again_by_a_resumed_launch_and_no_other,
    a_configuration_whose_trial_was_stopped_otherwise_stays_open,
]
"""What any source of proposals must bear; a new one is added to ``ALGORITHMS``."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_searcher(check, bench):
    check(bench)


def test_tune_accepts_the_searcher_and_its_own_metric(plan_of, tmp_path):
    searcher = Bench(plan_of(), tmp_path / "optuna.journal").searcher()
    assert searcher.set_search_properties("eval/perplexity", "min", {}) is True
    assert (searcher.metric, searcher.mode) == ("eval/perplexity", "min")


def test_a_suggestion_tells_the_trial_actor_all_it_needs(plan_of, tmp_path):
    suggestion = Bench(plan_of(), tmp_path / "optuna.journal").searcher().suggest("a")
    assert set(suggestion) == {"dispatcher", "namespace", "key", "spec", "objectives"}
    assert (suggestion["namespace"], suggestion["objectives"]) == ("test", ["eval/perplexity"])

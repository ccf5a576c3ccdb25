"""What the searcher promises with every search strategy: replicates, baselines, resuming, pickling."""

import pickle
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ray.tune.search import Searcher

from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.search.strategies import strategy_of
from nmlab.platform.search.strategy_protocol import Outcome
from nmlab.platform.tuning.searcher import ReplicateSearcher
from nmlab.trials.contract.trial_spec import TrialSpec

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
    "tpe for two objectives": (_TWO.replace("nsga2", "tpe"),),
    "qmc": ("search.algorithm=qmc",),
}


@dataclass
class SearchRun:
    """A study's searcher, its journal, and the results that an earlier process would have recorded."""

    plan: LaunchPlan
    journal: Path
    ended: dict[str, Any] = field(default_factory=dict)
    suggested: list[TrialSpec] = field(default_factory=list)

    def searcher(self, strategy: Any = None) -> ReplicateSearcher:
        search = self.plan.study.search
        return ReplicateSearcher(
            self.plan,
            strategy or strategy_of(self.plan.study, journal=self.journal),
            dispatcher="dispatcher",
            namespace="test",
            ended=self.ended,
            evaluated={},
            stopped_early=(),
            metric_mode=(search.metrics[0], search.modes[0]),
        )

    def ask(self, searcher: ReplicateSearcher) -> tuple[str, TrialSpec] | None:
        """Return Tune's next trial, or None if there is none, or none as long as others run."""
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
    """Return the result of a finished trial, whose perplexity depends on its configuration and its seed."""
    perplexity = 10.0 + int(spec.configuration, 16) % 97 + spec.seed
    return {"status": "finished", "step": 4, "eval/perplexity": perplexity, "cost/forwards": 4.0}


class RecordingStrategy:
    """A search strategy that records outcomes and, unless ``is_silent``, passes them on to another strategy."""

    def __init__(self, strategy: Any, *, is_silent: bool = False) -> None:
        self._strategy, self._is_silent = strategy, is_silent
        self.outcomes: list[tuple[int, Outcome]] = []

    def open(self) -> Any:
        return self._strategy.open()

    def failed(self) -> Any:
        return self._strategy.failed()

    def next(self) -> Any:
        return self._strategy.next()

    def tell(self, number: int, outcome: Outcome) -> None:
        self.outcomes.append((number, outcome))
        if not self._is_silent:
            self._strategy.tell(number, outcome)


@pytest.fixture(params=ALGORITHMS)
def search_run(request, plan_of, tmp_path):
    return SearchRun(plan_of(*ALGORITHMS[request.param]), tmp_path / "optuna.journal")


def every_planned_trial_runs_once(search_run: SearchRun) -> None:
    search_run.run(search_run.searcher())
    keys = [spec.key for spec in search_run.suggested]
    assert len(keys) == len(set(keys)) == search_run.plan.trials


def seeds_are_replicates_of_one_configuration(search_run: SearchRun) -> None:
    search_run.run(search_run.searcher())
    seeds: dict[str, list[int]] = {}
    for spec in search_run.searched:
        seeds.setdefault(spec.configuration, []).append(spec.seed)
    assert len(seeds) == search_run.plan.configurations
    assert set(map(tuple, seeds.values())) == {search_run.plan.study.seeds}


def baselines_come_first_and_once(search_run: SearchRun) -> None:
    search_run.run(search_run.searcher())
    count = len(search_run.plan.baselines)
    assert count == 3
    assert [spec.key for spec in search_run.suggested[:count]] == [spec.key for spec in search_run.plan.baselines]
    assert Counter(spec.method for spec in search_run.suggested[count:]) == {"maskpro": search_run.plan.trials - count}


def the_search_gets_one_outcome_once_all_seeds_of_a_configuration_have_ended(search_run: SearchRun) -> None:
    recording = RecordingStrategy(strategy_of(search_run.plan.study, journal=search_run.journal))
    search_run.run(search_run.searcher(recording), at_once=5)
    assert sorted(number for number, _ in recording.outcomes) == list(range(search_run.plan.configurations))
    by_configuration: dict[str, list[float]] = {}
    for spec in search_run.searched:
        by_configuration.setdefault(spec.configuration, []).append(result_of(spec)["eval/perplexity"])
    means = sorted(sum(values) / len(values) for values in by_configuration.values())
    assert sorted(outcome.values[0] for _, outcome in recording.outcomes) == pytest.approx(means)


def a_killed_search_goes_on_without_running_anything_again(search_run: SearchRun) -> None:
    """It is killed after any number of trials: those that were running run again, and no others."""
    for cut in range(search_run.plan.trials + 1):
        here = SearchRun(search_run.plan, search_run.journal.with_name(f"cut-{cut}"))
        here.run(here.searcher(), trials=cut)
        done, started = set(here.ended), {spec.key for spec in here.suggested}
        assert len(done) == cut
        here.suggested.clear()
        here.run(here.searcher())
        again = {spec.key for spec in here.suggested}
        assert not again & done
        assert started - done <= again
        assert len(here.suggested) == len(again) == here.plan.trials - cut


def a_finished_search_has_nothing_left_for_a_second_process(search_run: SearchRun) -> None:
    search_run.run(search_run.searcher())
    search_run.suggested.clear()
    assert search_run.ask(search_run.searcher()) is None


def plain_pickle_keeps_the_state_of_the_search(search_run: SearchRun) -> None:
    """Ray saves searchers with plain pickle, which refuses closures and lambdas."""
    searcher = search_run.searcher()
    asked = [search_run.ask(searcher) for _ in range(4)]
    restored = pickle.loads(pickle.dumps(searcher))
    for trial_id, spec in filter(None, asked):
        search_run.complete(restored, trial_id, spec)
    search_run.run(restored)
    assert len({spec.key for spec in search_run.suggested}) == len(search_run.suggested) == search_run.plan.trials


def the_same_history_gives_the_same_search(search_run: SearchRun) -> None:
    other = SearchRun(search_run.plan, search_run.journal.with_name("other"))
    for each in (search_run, other):
        each.run(each.searcher())
    assert [spec.key for spec in search_run.suggested] == [spec.key for spec in other.suggested]


def outcomes_from_before_a_crash_reach_the_search_afterwards(search_run: SearchRun) -> None:
    """The process died after the last trials had ended and before the search had received any outcome."""
    search_run.run(
        search_run.searcher(
            RecordingStrategy(strategy_of(search_run.plan.study, journal=search_run.journal), is_silent=True)
        )
    )
    search_run.suggested.clear()
    recording = RecordingStrategy(strategy_of(search_run.plan.study, journal=search_run.journal))
    search_run.run(search_run.searcher(recording))
    assert search_run.suggested == []
    assert sorted(number for number, _ in recording.outcomes) == list(range(search_run.plan.configurations))


def a_trial_that_tune_gives_up_is_proposed_again(search_run: SearchRun) -> None:
    """Any trial, the last as well, as often as is allowed."""
    for victim in range(search_run.plan.trials):
        here = SearchRun(search_run.plan, search_run.journal.with_name(f"victim-{victim}"))
        recording = RecordingStrategy(strategy_of(here.plan.study, journal=here.journal))
        searcher = here.searcher(recording)
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
        assert all(outcome.values for _, outcome in recording.outcomes)


def a_trial_that_tune_gives_up_too_often_has_failed(search_run: SearchRun) -> None:
    recording = RecordingStrategy(strategy_of(search_run.plan.study, journal=search_run.journal))
    searcher, victim = search_run.searcher(recording), ""
    while asked := search_run.ask(searcher):
        trial_id, spec = asked
        victim = victim or (spec.key if spec in search_run.searched else "")
        if spec.key == victim:
            searcher.on_trial_complete(trial_id, error=True)
        else:
            search_run.complete(searcher, trial_id, spec)
    assert Counter(spec.key for spec in search_run.suggested)[victim] == 4
    assert [outcome.values for _, outcome in recording.outcomes].count(None) == 1


def the_search_is_not_over_while_a_trial_runs(search_run: SearchRun) -> None:
    searcher, out = search_run.searcher(), []
    while asked := search_run.ask(searcher):
        out.append(asked)
    for trial_id, spec in out:
        assert searcher.suggest("one more") is None
        search_run.complete(searcher, trial_id, spec)
    while asked := search_run.ask(searcher):
        search_run.complete(searcher, *asked)
    assert searcher.suggest("one more") == Searcher.FINISHED


def a_trial_that_failed_is_run_again_by_a_resumed_launch_and_no_other(search_run: SearchRun) -> None:
    """The search keeps the outcome that its configuration failed; the launch ends with every planned run."""
    searcher, victim = search_run.searcher(), None
    while asked := search_run.ask(searcher):
        trial_id, spec = asked
        if victim is None and spec in search_run.searched:
            victim = spec
            searcher.on_trial_complete(trial_id, result={"status": "failed", "step": 2})
        else:
            search_run.complete(searcher, trial_id, spec)
    for _ in range(2):
        search_run.suggested.clear()
        search_run.run(search_run.searcher())
        assert search_run.suggested == [victim]
        del search_run.ended[victim.key]


def a_configuration_whose_trial_was_stopped_otherwise_stays_open(search_run: SearchRun) -> None:
    """Time limit or Ctrl-C: the search gets no outcome, and the next process runs the trial again."""
    recording = RecordingStrategy(strategy_of(search_run.plan.study, journal=search_run.journal))
    searcher, cut = search_run.searcher(recording), None
    while asked := search_run.ask(searcher):
        trial_id, spec = asked
        if cut is None and spec in search_run.searched:
            cut = spec
            searcher.on_trial_complete(trial_id, result={"step": 2, "eval/perplexity": 9.0})
        else:
            search_run.complete(searcher, trial_id, spec)
    assert len(recording.outcomes) == search_run.plan.configurations - 1
    search_run.suggested.clear()
    again = RecordingStrategy(strategy_of(search_run.plan.study, journal=search_run.journal))
    search_run.run(search_run.searcher(again))
    assert search_run.suggested == [cut]
    assert all(outcome.values for _, outcome in again.outcomes)


CHECKS = [
    every_planned_trial_runs_once,
    seeds_are_replicates_of_one_configuration,
    baselines_come_first_and_once,
    the_search_gets_one_outcome_once_all_seeds_of_a_configuration_have_ended,
    a_killed_search_goes_on_without_running_anything_again,
    a_finished_search_has_nothing_left_for_a_second_process,
    plain_pickle_keeps_the_state_of_the_search,
    the_same_history_gives_the_same_search,
    outcomes_from_before_a_crash_reach_the_search_afterwards,
    a_trial_that_tune_gives_up_is_proposed_again,
    a_trial_that_tune_gives_up_too_often_has_failed,
    the_search_is_not_over_while_a_trial_runs,
    a_trial_that_failed_is_run_again_by_a_resumed_launch_and_no_other,
    a_configuration_whose_trial_was_stopped_otherwise_stays_open,
]
"""What must hold for every search strategy; a new one is added to ``ALGORITHMS``."""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_searcher(check, search_run):
    check(search_run)


def test_tune_accepts_the_searcher_and_its_own_metric(plan_of, tmp_path):
    searcher = SearchRun(plan_of(), tmp_path / "optuna.journal").searcher()
    assert searcher.set_search_properties("eval/perplexity", "min", {}) is True
    assert (searcher.metric, searcher.mode) == ("eval/perplexity", "min")


def test_a_suggestion_holds_all_that_a_trial_actor_needs(plan_of, tmp_path):
    suggestion = SearchRun(plan_of(), tmp_path / "optuna.journal").searcher().suggest("a")
    assert set(suggestion) == {"dispatcher", "namespace", "key", "spec", "objectives"}
    assert (suggestion["namespace"], suggestion["objectives"]) == ("test", ["eval/perplexity"])

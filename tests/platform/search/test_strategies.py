"""Which outcomes Optuna gets, and what the strategies do on small spaces and after a crash."""

import math

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from ray.tune.search import Searcher

from nmlab.platform.search.grid import GridStrategy
from nmlab.platform.search.samplers.nsga2 import population
from nmlab.platform.search.strategies import OptunaStrategy, strategy_of
from nmlab.platform.search.strategy_protocol import Outcome
from nmlab.platform.tuning.searcher import ReplicateSearcher
from nmlab.search_spaces import loader

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
METRIC = "eval/perplexity"
NO_BASELINES = "baselines=[]"
TWO_METRICS = "search={algorithm: nsga2, samples: 3, metric: [eval/perplexity, train/flips], mode: [min, max]}"


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "optuna.journal"


def recorded(journal, study="quickstart"):
    """Read Optuna's study from its journal, as another process would."""
    return optuna.load_study(study_name=study, storage=JournalStorage(JournalFileBackend(str(journal))))


class _All:
    """Holds every key: all stopped trials were stopped early for good."""

    def __contains__(self, key):
        return True


def searcher_of(plan, journal, ended=()):
    search = plan.study.search
    return ReplicateSearcher(
        plan,
        strategy_of(plan.study, journal=journal),
        dispatcher="dispatcher",
        namespace="test",
        ended=dict(ended),
        evaluated={},
        stopped_early=_All(),
        metric_mode=(search.metrics[0], search.modes[0]),
        max_failures=0,
    )


def end_one_configuration(plan, journal, *results):
    """Give the seeds of the first configuration these results; return Optuna's record of it."""
    searcher = searcher_of(plan, journal)
    for number in range(len(results)):
        searcher.suggest(f"trial-{number}")
    for number, result in enumerate(results):
        searcher.on_trial_complete(f"trial-{number}", result=result, error=result is None)
    return recorded(journal).trials[0]


def finished(perplexity, **others):
    return {"status": "finished", "step": 4, METRIC: perplexity, **others}


def test_a_configuration_is_complete_with_the_mean_over_its_seeds(plan_of, journal):
    trial = end_one_configuration(plan_of(NO_BASELINES), journal, finished(20.0), finished(30.0))
    assert trial.state == TrialState.COMPLETE
    assert trial.values == [25.0]


@pytest.mark.parametrize(
    "last",
    [
        {"status": "diverged", "step": 2, METRIC: 20.0},
        {"status": "diverged", "step": 2, METRIC: math.nan},
        {"status": "oom", "step": 0},
        {"status": "failed", "step": 0},
        finished(math.nan),
        finished(math.inf),
        None,
    ],
    ids=["diverged", "diverged to nan", "out of memory", "failed", "nan", "infinite", "given up by Tune"],
)
@pytest.mark.parametrize("others_first", [True, False])
def test_a_configuration_with_a_bad_seed_fails(plan_of, journal, last, others_first):
    """It is neither complete with a value that is not finite, nor left running."""
    results = [finished(20.0), last] if others_first else [last, finished(20.0)]
    trial = end_one_configuration(plan_of(NO_BASELINES), journal, *results)
    assert trial.state == TrialState.FAIL
    assert trial.values is None


def test_a_failed_configuration_keeps_its_finite_intermediate_values(plan_of, journal):
    plan = plan_of(NO_BASELINES, "seeds=[0]")
    searcher = searcher_of(plan, journal)
    searcher.suggest("a")
    for step, value in ((0, 50.0), (2, math.nan), (4, math.inf)):
        searcher.on_trial_result("a", {"step": step, METRIC: value})
    searcher.on_trial_complete("a", result={"status": "diverged", "step": 4, METRIC: math.nan})
    trial = recorded(journal).trials[0]
    assert trial.state == TrialState.FAIL
    assert trial.intermediate_values == {0: 50.0}


def test_a_configuration_that_was_stopped_early_is_pruned_with_its_mean_curve(plan_of, journal):
    searcher = searcher_of(plan_of(NO_BASELINES), journal)
    for trial_id in "ab":
        searcher.suggest(trial_id)
    for trial_id, step, value in (("a", 0, 50.0), ("b", 0, 52.0), ("a", 2, 40.0), ("a", 3, 1.0)):
        searcher.on_trial_result(trial_id, {"step": step, METRIC: value})
    searcher.on_trial_complete("a", result=finished(30.0))
    searcher.on_trial_complete("b", result={"step": 2, METRIC: 44.0, "done": True})  # its last value comes only here
    trial = recorded(journal).trials[0]
    assert trial.state == TrialState.PRUNED
    assert trial.intermediate_values == {0: 51.0, 2: 42.0}


def test_a_configuration_stopped_before_its_first_value_fails(plan_of, journal):
    stopped = {"status": "stopped", "step": 0}
    trial = end_one_configuration(plan_of(NO_BASELINES), journal, stopped, stopped)
    assert trial.state == TrialState.FAIL


def test_nothing_is_left_running_when_all_has_ended(plan_of, journal):
    plan = plan_of(NO_BASELINES, "search.samples=5")
    searcher, number = searcher_of(plan, journal), 0
    endings = [finished(20.0), {"status": "diverged", "step": 1}, {"step": 2, METRIC: 9.0}, None, finished(math.nan)]
    while searcher.suggest(str(number)) != Searcher.FINISHED:
        searcher.on_trial_complete(str(number), result=endings[number // 2 % 5])
        number += 1
    assert number == plan.trials
    states = [trial.state for trial in recorded(journal).trials]
    assert len(states) == 5
    assert TrialState.RUNNING not in states
    assert states.count(TrialState.COMPLETE) == 1


@pytest.mark.parametrize(("mode", "direction"), [("min", "MINIMIZE"), ("max", "MAXIMIZE")])
def test_the_direction_is_the_studys(plan_of, journal, mode, direction):
    study = plan_of("search.metric=train/flips", f"search.mode={mode}").study
    OptunaStrategy(study, journal=journal)
    assert recorded(journal).direction.name == direction


def test_several_objectives_are_given_as_their_means(plan_of, journal):
    plan = plan_of(NO_BASELINES, TWO_METRICS)
    results = [finished(20.0, **{"train/flips": 4.0}), finished(30.0, **{"train/flips": 8.0})]
    trial = end_one_configuration(plan, journal, *results)
    assert trial.values == [25.0, 6.0]
    assert [direction.name for direction in recorded(journal).directions] == ["MINIMIZE", "MAXIMIZE"]


@pytest.mark.parametrize("last", [{"status": "diverged", "step": 2}, finished(math.nan, **{"train/flips": 4.0})])
def test_several_objectives_of_which_one_is_missing_fail(plan_of, journal, last):
    plan = plan_of(NO_BASELINES, TWO_METRICS, "seeds=[0]")
    searcher = searcher_of(plan, journal)
    searcher.suggest("a")
    searcher.on_trial_result("a", {"step": 2, METRIC: 3.0, "train/flips": 1.0})
    searcher.on_trial_complete("a", result=last)
    assert recorded(journal).trials[0].state == TrialState.FAIL


def test_a_second_process_goes_on_with_open_proposals_and_no_more_than_were_asked(plan_of, journal):
    study = plan_of("search.samples=4").study
    first = OptunaStrategy(study, journal=journal)
    made = [first.next() for _ in range(3)]
    first.tell(made[0].number, Outcome([20.0]))
    second = OptunaStrategy(study, journal=journal)
    assert second.open() == made[1:]
    last = second.next()
    assert last.configuration not in [proposal.configuration for proposal in made]
    assert second.next() is None
    for proposal in (*made[1:], last):
        second.tell(proposal.number, Outcome([21.0]))
    assert OptunaStrategy(study, journal=journal).open() == []
    assert [trial.value for trial in recorded(journal).trials] == [20.0, 21.0, 21.0, 21.0]


def test_a_restored_proposal_is_the_same_to_the_last_digit(plan_of, journal):
    """The trial key is a digest of the numbers, so a digit lost in the journal would run a trial anew."""
    study = plan_of().study
    made = OptunaStrategy(study, journal=journal).next()
    (restored,) = OptunaStrategy(study, journal=journal).open()
    assert restored == made
    assert list(map(type, restored.configuration.values())) == list(map(type, made.configuration.values()))


def test_an_ask_interrupted_by_a_crash_fails_and_does_not_count(plan_of, journal):
    study = plan_of("search.samples=2").study
    strategy = OptunaStrategy(study, journal=journal)
    recorded(journal).ask()  # the process dies before the configuration is written down
    assert strategy.open() == []
    assert recorded(journal).trials[0].state == TrialState.FAIL
    assert [strategy.next().number, strategy.next().number] == [1, 2]
    assert strategy.next() is None


@pytest.mark.parametrize("algorithm", ["random", "tpe"])
@pytest.mark.parametrize(
    ("space", "size"),
    [
        ("{alpha: {choice: [0.9, 0.99]}}", 2),
        ("{masks_per_step: {int: [1, 3]}}", 3),
        ("{alpha: {choice: [0.9, 0.95, 0.99]}, initial_mask: {choice: [magnitude, wanda]}}", 6),
        ("{initial_mask: {choice: [magnitude, wanda]}, alpha: {choice: [0.8, 0.9], when: {initial_mask: wanda}}}", 3),
    ],
)
def test_a_space_smaller_than_its_samples_is_tried_whole_and_once(plan_of, journal, algorithm, space, size):
    """A sampler that proposes known points again must neither end the search early nor go on for ever."""
    plan = plan_of(f"search.algorithm={algorithm}", "search.samples=20", f"space={space}")
    strategy = strategy_of(plan.study, journal=journal)
    made = []
    while (proposal := strategy.next()) is not None:
        made.append(proposal.configuration)
        strategy.tell(proposal.number, Outcome([float(len(made))]))
    assert len(made) == size == plan.configurations
    assert all(configuration not in made[:index] for index, configuration in enumerate(made))


def test_all_asked_samples_of_a_small_space_are_found(plan_of, journal):
    """TPE proposes the best of eight values again and again; five different ones are wanted."""
    values = [round(0.90 + index / 100, 2) for index in range(8)]
    plan = plan_of("search.samples=5", f"space={{alpha: {{choice: {values}}}}}")
    strategy = strategy_of(plan.study, journal=journal)
    for count in range(5):
        proposal = strategy.next()
        assert proposal is not None, f"ended after {count} of 5"
        strategy.tell(proposal.number, Outcome([abs(proposal.configuration["alpha"] - 0.93)]))
    assert strategy.next() is None


def test_a_grid_is_every_point_once_in_file_order(plan_of, journal):
    space = "space={alpha: {grid: [0.9, 0.99]}, initial_mask: {choice: [magnitude, wanda]}}"
    plan = plan_of("search={algorithm: grid}", space)
    strategy = strategy_of(plan.study, journal=journal)
    assert isinstance(strategy, GridStrategy)
    made = [strategy.next() for _ in range(5)]
    assert made.pop() is None
    points = [(p.configuration["alpha"], p.configuration["initial_mask"]) for p in made]
    assert points == [(0.9, "magnitude"), (0.9, "wanda"), (0.99, "magnitude"), (0.99, "wanda")]
    assert not journal.exists()


def test_outcomes_change_what_is_proposed_next(plan_of, tmp_path):
    """Without outcomes, TPE would propose the same points in both cases."""
    plan = plan_of("search.samples=12", "space={learning_rate: {uniform: [0.0001, 1]}}", "seeds=[0]")
    proposed = {}
    for best in (0.1, 0.9):
        strategy = strategy_of(plan.study, journal=tmp_path / f"{best}.journal")
        rates = []
        while (proposal := strategy.next()) is not None:
            rates.append(proposal.configuration["learning_rate"])
            strategy.tell(proposal.number, Outcome([abs(rates[-1] - best)]))
        proposed[best] = rates
    assert proposed[0.1][:4] == proposed[0.9][:4]  # drawn before TPE has a model
    assert proposed[0.1][4:] != proposed[0.9][4:]


def test_nsga2_leaves_its_first_generation_and_learns(tmp_path):
    """The first generation does not depend on outcomes; the second does."""
    search = "search={algorithm: nsga2, samples: 24, metric: [validation/perplexity, cost/tokens], mode: [min, min]}"
    # More than one number, because NSGA-II draws one in so many anew.
    space = "space={learning_rate: {loguniform: [0.1, 10]}, alpha: {uniform: [0, 0.9]}, logit_magnitude: {int: [2, 9]}}"
    study = loader.load("quickstart", overrides=[space, search])
    first = population(24)
    proposed = []
    for sign in (1, -1):
        strategy = OptunaStrategy(study, journal=tmp_path / f"{sign}.journal")
        found = []
        for _ in range(2 * first):
            proposal = strategy.next()
            found.append(proposal.configuration["learning_rate"])
            strategy.tell(proposal.number, Outcome([sign * found[-1], 1.0]))
        proposed.append(found)
    small, large = proposed  # preferred rates
    assert small[:first] == large[:first]
    assert small[first:] != large[first:]
    assert sum(small[first:]) < sum(large[first:])


@pytest.mark.parametrize(("configurations", "size"), [(3, 4), (24, 8), (100, 25), (1000, 50)])
def test_a_generation_suits_the_number_of_configurations(configurations, size):
    assert population(configurations) == size

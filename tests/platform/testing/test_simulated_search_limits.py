"""Searches in the simulated backend that stop before they have tried everything, with drivers killed at any record.

`check_launch` checks of each that the planned trials, less those that are left out, ended once and are in MLflow.
"""

import pytest
from confirmed import confirming
from deaths import run_with_deaths

from nmlab.platform.driver.extend_launch import plan_extension
from nmlab.platform.launches.status import read_status
from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.records.events import TrialSubmitted
from nmlab.platform.testing.simulation import SimulatedLaunch, check_launch, run_with_random_faults
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_status import LaunchStatus

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
ALPHAS = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]
STEPS = 2
COMMON = (
    f"space={{alpha: {{choice: {ALPHAS}}}}}",
    f"fixed={{steps: {STEPS}, learning_rate: 2.0, logit_magnitude: 4.0}}",
    "seeds=[0, 1]",
    "baselines=[dense, random]",
    "intervals={log_every: 1, checkpoint_every: 1}",
)
ONE_AT_A_TIME = "budget.max_concurrent=1"
"""So that the search has the same history in every launch."""
BASELINES = 1 + 2


def search(*settings, algorithm="random"):
    points = f"initial_points: {[{'alpha': alpha} for alpha in ALPHAS]}"
    return f"search={{{', '.join((f'algorithm: {algorithm}, samples: 6', points, *settings))}}}"


STALLED = search("stop: {no_improvement: 2}", "confirm: {top: 1, seeds: 2}")
USED_UP = (search("confirm: {top: 1, seeds: 2}"), f"budget.total={{forwards: {STEPS * (2 * 3 + 2)}}}")
"""Three configurations, and what confirms one of them; baselines take no forwards."""
GRID = ("search={algorithm: grid}", f"space={{alpha: {{grid: {ALPHAS}}}}}", f"budget.total={{forwards: {STEPS * 6}}}")


def by_alpha(spec):
    """Return the end of a curve that is the better the lower alpha is."""
    settings = spec.hyperparameters
    value = 30.0 + settings.get("alpha", 1.0) + spec.seed / 1000
    return dict.fromkeys((0, int(settings.get("steps", 0))), value)


def run(plan, folder):
    """Run a launch to its end."""
    with SimulatedLaunch(plan, folder, seed=0, curve=by_alpha) as launch:
        launch.start()
        launch.finish()
        check_launch(launch)
        return launch


def outcomes(launch):
    return {key: (end["status"], end["metrics"]) for key, end in launch.ended().items()}


def alphas(launch):
    """Return what the search tried, in the order in which it began."""
    specs = [record.spec for record in launch.written if isinstance(record, TrialSubmitted)]
    return list(dict.fromkeys(spec["hyperparameters"]["alpha"] for spec in specs if spec["method"] == "maskpro"))


def test_a_search_that_no_longer_improves_stops_is_confirmed_and_says_what_was_not_run(small_plan, in_memory):
    launch = run(small_plan(*COMMON, STALLED, ONE_AT_A_TIME), in_memory)
    ended, status = launch.results[-1], read_status(launch.launch)
    line = (
        "search stopped after 3 of 6 configurations: none of the last 2 is better than the best before them, beyond "
        "noise (search.stop); 6 trials were not run"
    )
    assert alphas(launch) == ALPHAS[:3]
    assert (ended.status, ended.counts) == (LaunchStatus.FINISHED, {"finished": BASELINES + 3 * 2 + 2 * 2})
    assert len(confirming(launch)) == 2 * 2
    assert (ended.search_stopped, status["search_stopped"]) == (line, line)
    assert ended.confirmation[0].startswith("best of 3 configurations: maskpro 2:4 alpha=0.5")
    assert launch.store.tags[run_tags.SEARCH_STOPPED] == line
    assert launch.store.tags[run_tags.PLANNED] == str(status["planned"]) == str(status["ended"])


def test_a_search_that_goes_to_its_end_says_nothing(small_plan, in_memory):
    launch = run(small_plan(*COMMON, search("stop: {no_improvement: 6}")), in_memory)
    assert alphas(launch) == ALPHAS
    assert launch.results[-1].search_stopped == ""
    assert "search_stopped" not in read_status(launch.launch)
    assert run_tags.SEARCH_STOPPED not in launch.store.tags


def test_a_budget_leaves_what_the_confirmation_takes(small_plan, in_memory):
    launch = run(small_plan(*COMMON, *USED_UP, ONE_AT_A_TIME), in_memory)
    assert alphas(launch) == ALPHAS[:3]
    assert sum(end["metrics"].get("cost/forwards", 0) for end in launch.ended().values()) == STEPS * (2 * 3 + 2)
    assert launch.results[-1].search_stopped == (
        "search stopped after 3 of 6 configurations: 12 of 16 forwards are used, and 4 more are expected of what runs "
        "and of the confirmation (budget.total); 6 trials were not run"
    )


EVERY = 20
"""Records between two deaths of a driver."""
STUDIES = {"no improvement": (STALLED,), "budget": USED_UP, "grid": GRID}


@pytest.fixture(scope="module")
def undisturbed():
    """Filled by the first test of each study that needs it: outcomes of a launch without a death."""
    return {}


@pytest.mark.parametrize(
    "first", [pytest.param(n, marks=[pytest.mark.thorough] if n % 5 else []) for n in range(1, EVERY + 1)]
)
@pytest.mark.parametrize("name", STUDIES)
def test_a_driver_that_is_killed_at_any_record_and_the_next_one_decide_alike(
    small_plan, in_memory, undisturbed, name, first
):
    plan = small_plan(*COMMON, *STUDIES[name], ONE_AT_A_TIME)
    if name not in undisturbed:
        whole = run(plan, in_memory / "undisturbed")
        undisturbed[name] = (outcomes(whole), whole.results[-1].search_stopped)
        assert undisturbed[name][-1]
    ends, line = undisturbed[name]
    with SimulatedLaunch(plan, in_memory / "killed", seed=0, curve=by_alpha) as launch:
        assert run_with_deaths(launch, first=first, every=EVERY) >= 2
        check_launch(launch)
    assert outcomes(launch) == ends
    assert launch.results[-1].search_stopped == line
    assert launch.store.tags[run_tags.SEARCH_STOPPED] == line


@pytest.mark.parametrize("seed", [pytest.param(n, marks=[pytest.mark.thorough] if n > 2 else []) for n in range(8)])
@pytest.mark.parametrize("name", STUDIES)
def test_whatever_happens_the_planned_trials_run_and_no_others(small_plan, in_memory, name, seed):
    plan = small_plan(*COMMON, *STUDIES[name], "replica={count: 2, slots: 2}")
    check_launch(run_with_random_faults(plan, in_memory, seed=seed))


def extended(plans, folder):
    """Run a launch with one plan, then extended to the next."""
    with SimulatedLaunch(plans[0], folder, seed=0, curve=by_alpha) as launch:
        launch.start()
        launch.finish()
        check_launch(launch)
        before = alphas(launch)
        launch.extend(plans[1])
        launch.finish()
        check_launch(launch)
        return before, launch


LOOSER = search("stop: {no_improvement: 4}", "confirm: {top: 1, seeds: 2}")
MORE = (search("confirm: {top: 1, seeds: 2}"), "budget.total={forwards: 24}")
"""The earlier confirmation is used; what will confirm the longer search may be others, and is kept for again."""


@pytest.mark.parametrize(
    ("first", "second", "tried"),
    [
        ((STALLED,), (LOOSER,), 5),
        ((STALLED,), (search("confirm: {top: 1, seeds: 2}"),), 6),
        (USED_UP, MORE, 4),
        (GRID, (*GRID[:2], "budget.total={forwards: 16}"), 4),
    ],
    ids=["a looser rule", "no rule", "a larger budget", "a larger budget of a grid"],
)
def test_a_launch_that_stopped_goes_on_once_it_may(small_plan, in_memory, first, second, tried):
    plan, later = small_plan(*COMMON, *first, ONE_AT_A_TIME), small_plan(*COMMON, *second, ONE_AT_A_TIME)
    after = LaunchPlan.unchecked(later.study, facts=later.facts, earlier=(plan.study,))
    before, launch = extended((plan, after), in_memory)
    assert before == ALPHAS[:3]
    assert alphas(launch) == ALPHAS[:tried]
    assert (run_tags.SEARCH_STOPPED in launch.store.tags) == (tried < len(ALPHAS))


def test_an_extension_whose_search_stays_stopped_says_so(small_plan, in_memory):
    plan = small_plan(*COMMON, STALLED, ONE_AT_A_TIME)
    launch = run(plan, in_memory)
    more = small_plan(*COMMON, STALLED, "search.samples=6", "seeds=[0, 1, 2]", ONE_AT_A_TIME)
    lines = plan_extension(launch.launch, more.study).lines
    assert lines[-2:] == (
        "4 trials more: 13 -> 17",
        "search stopped after 3 of 6 configurations: none of the last 2 is better than the best before them, beyond "
        "noise (search.stop); 9 trials were not run",
    )

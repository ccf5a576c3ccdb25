"""Launches in the simulated backend that are extended, with drivers that are killed at any record of the journal.

`check_launch` checks of each that the planned trials ended, each once, and that MLflow has every point of them.
"""

import math

import optuna
import pytest
from confirmed import choices
from deaths import run_with_deaths
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nmlab.platform.launches.journal import read_journal
from nmlab.platform.launches.launch import Launch
from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.records.events import LaunchBegan, TrialEnded, TrialSubmitted
from nmlab.platform.testing.simulation import SimulatedLaunch, check_launch
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus

SEARCHED = (
    "search={algorithm: tpe, samples: 3}",
    "space={alpha: {choice: [0.9, 0.95, 0.99]}, learning_rate: {choice: [1.0, 2.0]}}",
    "fixed={steps: 2, logit_magnitude: 4.0}",
    "seeds=[0, 1]",
    "baselines=[dense]",
    "replica={count: 2, slots: 1}",
    "intervals={log_every: 1, checkpoint_every: 1}",
)
MORE = ("search.samples=5", "seeds=[0, 1, 2]", "baselines=[dense, random]")
CONFIRMED = ("search={algorithm: tpe, samples: 3, confirm: {top: 2, seeds: 2}}",)
EVERY = 20
"""Records between two deaths of a driver."""
WIDER = "space={alpha: {choice: [0.9, 0.97]}, learning_rate: {loguniform: [0.5, 4.0]}}"


def by_alpha(spec):
    """Return the end of a curve: the better the lower alpha is, and a little by the learning rate and the seed."""
    settings = spec.hyperparameters
    value = 30.0 + settings.get("alpha", 1.0) + settings.get("learning_rate", 0.0) / 100 + spec.seed / 1000
    return dict.fromkeys((0, int(settings.get("steps", 0))), value)


@pytest.fixture
def versions(plan_of):
    """Return a function that gives the plans of versions of a study, each with further overrides."""

    def make(*steps, base=SEARCHED):
        plans, given = [], list(base)
        for step in steps:
            given += step
            plan = plan_of(*given)
            earlier = tuple(each.study for each in plans)
            plans.append(LaunchPlan.unchecked(plan.study, facts=plan.facts, earlier=earlier))
        return plans

    return make


def run(plans, folder, *, deaths_from=None):
    """Run a launch through all versions; drivers of the last one are killed from record ``deaths_from`` on."""
    with SimulatedLaunch(plans[0], folder, seed=0, curve=by_alpha) as launch:
        for plan in plans:
            launch.plan = plan
            if plan is plans[-1] and deaths_from is not None:
                assert run_with_deaths(launch, first=deaths_from, every=EVERY) >= 2
            else:
                launch.start()
            assert launch.finish().status == LaunchStatus.FINISHED
            check_launch(launch)
        return launch


def kill(launch, *, at):
    """Kill the driver when the journal has so many records."""
    launch.run_until(lambda: len(launch.written) >= at)
    assert launch.is_running
    launch.kill_driver()
    launch.run_for(3.0)


def outcomes(launch):
    return {key: (end["status"], end["metrics"]) for key, end in launch.ended().items()}


def seeds_of(launch):
    """Return the seeds of each configuration of the search, in the order in which configurations began."""
    found = {}
    for record in launch.written:
        if isinstance(record, TrialSubmitted) and record.spec["method"] == "maskpro":
            settings = record.spec["hyperparameters"]
            found.setdefault((settings["alpha"], settings["learning_rate"]), set()).add(record.spec["seed"])
    return found


def test_a_finished_launch_gets_configurations_seeds_and_a_baseline(versions, in_memory):
    plans = versions((), MORE)
    launch = run(plans, in_memory)
    assert set(map(frozenset, seeds_of(launch).values())) == {frozenset({0, 1, 2})}
    assert len(seeds_of(launch)) == 5
    assert launch.results[-1].counts == {"finished": 1 + 3 + 5 * 3}
    assert launch.store.tags[run_tags.PLANNED] == str(1 + 3 + 5 * 3)
    first = [record.key for record in launch.written if isinstance(record, TrialEnded)]
    assert len(first) == len(set(first)), "a trial ran twice"


def test_every_version_is_in_the_launch_and_in_mlflow(versions, in_memory):
    launch = run(versions((), MORE, ("seeds=[0, 1, 2, 3]",)), in_memory)
    kept = Launch(launch.launch.folder)
    assert [version.number for version in kept.versions()] == [1, 2, 3]
    assert [kept.study(version).seeds for version in kept.versions()] == [(0, 1), (0, 1, 2), (0, 1, 2, 3)]
    tags = launch.store.tags
    assert tags[run_tags.STUDY_VERSIONS] == "3"
    assert "search.samples: 3 -> 5; seeds: [0, 1] -> [0, 1, 2]" in tags[run_tags.extension_tag(2)]
    assert tags[run_tags.extension_tag(3)].endswith("seeds: [0, 1, 2] -> [0, 1, 2, 3]")


@pytest.mark.parametrize("change", [MORE, (WIDER, "search.samples=6"), ("search.samples=4", "seeds=[0, 1, 5]")])
def test_what_the_search_proposes_does_not_depend_on_added_seeds(versions, in_memory, change):
    """What it was told stays by the seeds that the launch began with."""
    plain = [step for step in change if not step.startswith("seeds")]
    with_seeds = seeds_of(run(versions((), change), in_memory / "with"))
    without = seeds_of(run(versions((), plain), in_memory / "without"))
    assert set(with_seeds) == set(without)


def test_the_search_is_told_the_mean_over_the_seeds_that_the_launch_began_with(versions, in_memory):
    launch = run(versions((), MORE), in_memory)
    storage = JournalStorage(JournalFileBackend(str(launch.launch.optuna_journal)))
    study = optuna.load_study(study_name="quickstart", storage=storage)
    told = {tuple(trial.params.values()): trial.value for trial in study.trials if trial.state.name == "COMPLETE"}
    assert len(told) == 5
    assert told == {(alpha, rate): pytest.approx(30.0 + alpha + rate / 100 + 0.0005) for alpha, rate in told}


def test_a_changed_space_goes_on_from_what_lies_in_it(versions, in_memory):
    launch = run(versions((), (WIDER, "search.samples=6")), in_memory)
    tried = list(seeds_of(launch))
    assert len(tried) == 6
    assert all(alpha in (0.9, 0.97) and 0.5 <= rate <= 4.0 for alpha, rate in tried[3:])


@pytest.fixture(scope="module")
def undisturbed_outcomes():
    """Filled by the first test that needs it: what an extension gives whose driver was not killed."""
    return {}


@pytest.mark.parametrize(
    "first",
    [pytest.param(n, marks=[pytest.mark.thorough] if n % 4 else []) for n in range(1, EVERY + 1)],
)
def test_a_driver_is_killed_at_any_record_of_an_extension(versions, in_memory, undisturbed_outcomes, first):
    """One trial runs at a time, so that the search has the same history in both."""
    change = (*MORE[1:], "search={algorithm: tpe, samples: 5, confirm: {top: 2, seeds: 2}}", WIDER)
    plans = versions((*CONFIRMED, "budget={max_concurrent: 1}"), change)
    if not undisturbed_outcomes:
        undisturbed_outcomes |= outcomes(run(plans, in_memory / "undisturbed"))
    assert outcomes(run(plans, in_memory / "killed", deaths_from=first)) == undisturbed_outcomes


def test_an_extension_confirms_anew_with_the_earlier_seeds(versions, in_memory):
    change = ("search={algorithm: tpe, samples: 5, confirm: {top: 2, seeds: 3}}", "seeds=[0, 1, 2]")
    launch = run(versions(CONFIRMED, change), in_memory)
    first, second = choices(launch)
    assert (tuple(first.seeds), tuple(second.seeds)) == ((2, 3), (3, 4, 5))
    assert (first.looked_at, second.looked_at) == (3, 5)
    marked = {key for key, each in launch.store.runs.items() if run_tags.CONFIRMATION in each.tags}
    specs = {record.key: record.spec for record in launch.written if isinstance(record, TrialSubmitted)}
    assert {specs[key]["seed"] for key in marked} == {3, 4, 5}


def test_a_launch_that_was_killed_before_its_extension_goes_on_as_extended(versions, in_memory):
    first, second = versions((), MORE)
    with SimulatedLaunch(first, in_memory, seed=4, curve=by_alpha) as launch:
        launch.start()
        launch.run_until(lambda: len(launch.ended()) == 3)
        launch.kill_driver()
        launch.run_for(3.0)
        launch.extend(second)
        assert launch.finish().status == LaunchStatus.FINISHED
        check_launch(launch)
        began = [record for record in read_journal(launch.launch) if isinstance(record, LaunchBegan)]
    assert [record.params["search.samples"] for record in began] == [3, 5]


RATES = [0.3, 0.1, 0.03, 0.001, 0.00001]
STOPPED_EARLY = (
    "fixed={steps: 60, logit_magnitude: 4.0}",
    f"space={{learning_rate: {{choice: {RATES}}}}}",
    "search={algorithm: random, samples: 5, scheduler: asha, initial_points: "
    f"{[{'learning_rate': rate} for rate in RATES]}}}",
    "baselines=[magnitude]",
    "seeds=[0, 1]",
    "intervals={evaluate_every: 10, checkpoint_every: 10, log_every: 1}",
    "replica={count: 1, slots: 2}",
)


def by_rate(spec):
    """Return curves that fall the faster the higher the learning rate is; that of the smallest one does not move."""
    rate = spec.hyperparameters.get("learning_rate", 1.0)
    gain = 0.0 if rate < 1e-4 else 5.0 + math.log10(rate)
    return {step: 100.0 - gain * step / 10 for step in range(0, int(spec.hyperparameters.get("steps", 0)) + 1, 10)}


def statuses_by_rate(launch):
    """Return how the seeds of each learning rate ended."""
    specs = {record.key: record.spec for record in launch.written if isinstance(record, TrialSubmitted)}
    found = {}
    for key, end in launch.ended().items():
        if (rate := specs[key]["hyperparameters"].get("learning_rate")) is not None:
            found.setdefault(rate, {})[specs[key]["seed"]] = end["status"]
    return found


def test_configurations_that_were_stopped_early_get_no_added_seeds(versions, in_memory):
    plans = versions((), ("seeds=[0, 1, 2]",), base=STOPPED_EARLY)
    with SimulatedLaunch(plans[0], in_memory, seed=1, curve=by_rate, seconds=(0.02, 0.1)) as launch:
        for plan in plans:
            launch.plan = plan
            launch.start()
            assert launch.finish().status == LaunchStatus.FINISHED
            check_launch(launch)
        found = statuses_by_rate(launch)
        finished = [rate for rate, ends in found.items() if ends[0] == ends[1] == TrialStatus.FINISHED]
        planned = launch.store.tags[run_tags.PLANNED]
    assert found[0.00001] == dict.fromkeys((0, 1), TrialStatus.STOPPED)
    assert {0.3, 0.1, 0.03} <= set(finished)
    assert all(found[rate][2] == TrialStatus.FINISHED for rate in finished)
    assert planned == str(1 + 5 * 2 + len(finished))


def test_a_launch_that_was_stopped_by_its_user_is_extended(versions, in_memory):
    first, second = versions((), MORE)
    with SimulatedLaunch(first, in_memory, seed=2, curve=by_alpha) as launch:
        launch.start()
        launch.run_until(lambda: len(launch.ended()) == 2)
        launch.interrupt()
        assert launch.finish().status == LaunchStatus.STOPPED
        launch.extend(second)
        assert launch.finish().counts == {"finished": 1 + 3 + 5 * 3}
        check_launch(launch)


WORST_FIRST = [{"alpha": alpha, "learning_rate": 1.0} for alpha in (0.99, 0.98, 0.95, 0.92, 0.9)]
CHOSEN_ANEW = (
    f"search={{algorithm: random, samples: 3, confirm: {{top: 2, seeds: 3}}, initial_points: {WORST_FIRST[:3]}}}",
    "space={alpha: {choice: [0.9, 0.92, 0.95, 0.98, 0.99]}, learning_rate: {choice: [1.0]}}",
    "budget={max_concurrent: 2}",
)


def alphas_of(launch, keys):
    specs = {record.key: record.spec for record in launch.written if isinstance(record, TrialSubmitted)}
    return sorted(specs[key]["hyperparameters"]["alpha"] for key in keys)


@pytest.mark.parametrize("after", range(2, 10))
def test_what_a_new_choice_leaves_out_is_not_begun_again(versions, in_memory, after):
    """The driver of the first version is killed amid its confirmation, so many records after its choice."""
    first, second = versions(CHOSEN_ANEW, ("search.samples=5", f"search.initial_points={WORST_FIRST}"))
    with SimulatedLaunch(first, in_memory, seed=3, curve=by_alpha) as launch:
        launch.start()
        launch.run_until(lambda: bool(choices(launch)))
        kill(launch, at=launch.written.index(choices(launch)[0]) + 1 + after)
        confirming = first.confirmations(launch.written).trials
        before = launch.ended().keys() & confirming.keys()
        begun = {record.key for record in launch.written if isinstance(record, TrialSubmitted)} & confirming.keys()
        since = len(launch.written)
        launch.extend(second)
        assert launch.finish().status == LaunchStatus.FINISHED
        check_launch(launch)
    left = {key for key, trial in confirming.items() if trial.spec.hyperparameters["alpha"] in (0.98, 0.95)}
    ends = launch.ended()
    assert left <= confirming.keys()
    assert not {record.key for record in launch.written[since:] if isinstance(record, TrialSubmitted)} & left
    assert {key: ends[key]["status"] for key in left & begun} == {
        key: TrialStatus.FINISHED if key in before else TrialStatus.STOPPED for key in left & begun
    }
    assert not (left - begun) & ends.keys()
    assert alphas_of(launch, [trial.key for trial in second.confirmations(launch.written).to_run_since(2)]) == [
        *[0.9] * 3,
        *[0.92] * 3,
    ]

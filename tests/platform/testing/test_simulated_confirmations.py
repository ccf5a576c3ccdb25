"""Searches in the simulated backend that are confirmed on fresh seeds: what is chosen, when, and that nothing else is.

`check_launch` checks of every launch that one choice was made, by the results before it, and that its trials ran once.
"""

import errno
import json
import math
import signal

import pytest
from confirmed import choices, confirming, finished, has_chosen

from nmlab.platform.launches.confirming import confirmation_lines
from nmlab.platform.launches.journal import Journal
from nmlab.platform.launches.status import read_status
from nmlab.platform.records.events import TrialEnded, TrialLeased, TrialSubmitted
from nmlab.platform.search.confirmation import trials_of
from nmlab.platform.testing.simulation import SimulatedLaunch, check_launch, run_with_random_faults
from nmlab.trials.contract.run_status import LaunchStatus

TOP = "search={algorithm: grid, confirm: {top: 2, seeds: 2}}"
CONFIRMED = (
    TOP,
    "space={alpha: {grid: [0.9, 0.95, 0.99]}}",
    "fixed={steps: 2, learning_rate: 2.0, logit_magnitude: 4.0}",
    "seeds=[0, 2]",
    "baselines=[dense, random, wanda]",
    "intervals={log_every: 1, checkpoint_every: 1}",
)
SEARCH, CONFIRMATION = 1 + 2 + 1 + 3 * 2, (2 + 1) * 2
FRESH = [1, 3]
every_seed = pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))])


def by_alpha(spec):
    """Return the end of a curve that is the better the lower alpha is; fresh seeds are far worse, the best most."""
    alpha = spec.hyperparameters.get("alpha", 1.0)
    shift = 100.0 * (1.0 - alpha) if spec.seed in FRESH else 0.0
    value = 30.0 + alpha + spec.seed / 100 + shift - 0.5 * (spec.method == "random")
    return dict.fromkeys((0, int(spec.hyperparameters.get("steps", 0))), value)


def chosen_alphas(launch):
    return [each["spec"]["hyperparameters"].get("alpha") for each in choices(launch)[-1].chosen]


def test_the_best_and_the_random_baseline_run_on_fresh_seeds_once_the_search_has_ended(small_plan, in_memory):
    with SimulatedLaunch(small_plan(*CONFIRMED), in_memory, seed=0, curve=by_alpha) as launch:
        assert launch.plan.trials_text == f"{SEARCH} trials + {CONFIRMATION} to confirm"
        result = finished(launch)
        (choice,) = choices(launch)
        status = read_status(launch.launch)
        before = launch.written[: launch.written.index(choice)]
        tags = dict(launch.store.tags)
    assert (result.status, result.counts) == (LaunchStatus.FINISHED, {"finished": SEARCH + CONFIRMATION})
    assert [(each["role"], each["spec"]["method"]) for each in choice.chosen] == [
        *[("search", "maskpro")] * 2,
        ("baseline", "random"),
    ]
    assert [each.get("mean") for each in choice.chosen] == [pytest.approx(30.91), pytest.approx(30.96), None]
    assert (list(choice.seeds), choice.asked, choice.looked_at, choice.metric) == (FRESH, 2, 3, "eval/perplexity")
    assert sum(isinstance(record, TrialEnded) for record in before) == SEARCH, "the search had not ended"
    assert (tags["nmlab.planned"], tags["nmlab.confirmation_seeds"]) == (str(SEARCH + CONFIRMATION), "1,3")
    assert (status["planned"], status["ended"]) == (SEARCH + CONFIRMATION,) * 2
    assert result.confirmation == confirmation_lines(status)
    assert list(result.confirmation) == [
        "best of 3 configurations: maskpro 2:4 alpha=0.9, eval/perplexity 40.92 on 2 fresh seeds (search mean 30.91); "
        "best baseline: random 2:4, eval/perplexity 30.52 on 2 fresh seeds",
        "confirmed 2 configurations and 1 baseline on the fresh seeds 1, 3",
    ]


def test_what_is_shown_changes_with_the_choice(small_plan, in_memory):
    with SimulatedLaunch(small_plan(*CONFIRMED), in_memory, seed=0, curve=by_alpha) as launch:
        finished(launch)
        shown = [confirmation_lines(snapshot) for snapshot in launch.snapshots]
    lines = list(dict.fromkeys(line for lines in shown for line in lines))
    assert lines[0] == f"to confirm when the search has ended: at most {CONFIRMATION} trials on the fresh seeds 1, 3"
    assert any(
        line.startswith("confirming 2 configurations and 1 baseline on the fresh seeds 1, 3: ") for line in lines
    )
    first = next(number for number, line in enumerate(lines) if line.startswith("best of 3"))
    assert all("alpha=0.9" in line and "search mean 30.91" in line for line in lines[first:] if "best of" in line), (
        "values on fresh seeds made another configuration the best"
    )
    planned = {snapshot["planned"] for snapshot in launch.snapshots}
    assert planned == {SEARCH + CONFIRMATION}


@pytest.mark.slow
def test_after_a_death_between_any_two_records_the_same_trials_confirm_the_search(small_plan, in_memory):
    """The next driver finds the journal up to that record: any within a trial of the choice, and every fourth."""
    plan = small_plan(*CONFIRMED)
    with SimulatedLaunch(plan, in_memory / "whole", seed=1) as whole:
        finished(whole)
    (wanted,) = choices(whole)
    chosen_at = whole.written.index(wanted)
    for number in sorted({*range(0, len(whole.written) + 1, 4), *range(chosen_at - 5, chosen_at + 8)}):
        with SimulatedLaunch(plan, in_memory / str(number), seed=number) as launch:
            launch.written += whole.written[:number]
            journal = Journal(launch.launch)
            journal.write(launch.written)
            journal.close()
            finished(launch)
            (choice,) = choices(launch)
            assert {each["configuration"] for each in choice.chosen} == {
                each["configuration"] for each in wanted.chosen
            }
            assert [each.get("mean") for each in choice.chosen] == [each.get("mean") for each in wanted.chosen]
            ends = {key: end["metrics"] for key, end in launch.ended().items()}
            assert ends == {key: end["metrics"] for key, end in whole.ended().items()}


@every_seed
def test_a_driver_killed_while_it_confirms_goes_on_with_what_was_chosen(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan(*CONFIRMED, "fixed.steps=20"), in_memory, seed=seed) as launch:
        launch.start()
        for number in (1, 3):
            launch.run_until(lambda number=number: len(confirming(launch)) >= number)
            done = set(launch.ended())
            launch.kill_driver()
            launch.run_for(5.0)
            first = len(launch.written)
            launch.start()
            launch.run_until(lambda first=first: any(isinstance(r, TrialLeased) for r in launch.written[first:]))
            assert not done & {r.key for r in launch.written[first:] if isinstance(r, TrialLeased)}
        launch.finish()
        check_launch(launch)
        assert len(choices(launch)) == 1


FAULTS, PARTS = 16, 4


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_a_search_is_confirmed_as_planned_whatever_happens(small_plan, in_memory, part):
    plan = small_plan(*CONFIRMED)
    for seed in range(part, FAULTS, PARTS):
        check_launch(run_with_random_faults(plan, in_memory / str(seed), seed=seed, faults=10))


@every_seed
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_on_a_signal_a_confirmation_saves_itself_and_goes_on_later(small_plan, in_memory, seed, number):
    with SimulatedLaunch(small_plan(*CONFIRMED, "fixed.steps=40"), in_memory, seed=seed) as launch:
        launch.start(exits=True)
        launch.run_until(lambda: len(confirming(launch)) >= 1)
        launch.interrupt(number)
        result = launch.finish()
        assert (result.status, result.interrupted) == (LaunchStatus.STOPPED, True)
        assert "confirming 2 configurations and 1 baseline" in result.confirmation[-1]
        finished(launch)
        assert len(choices(launch)) == 1


@every_seed
def test_a_signal_during_the_search_leaves_the_choice_to_the_process_that_ends_it(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan(*CONFIRMED, "fixed.steps=40"), in_memory, seed=seed) as launch:
        launch.start()
        launch.run_until(lambda: len(launch.ended()) >= SEARCH - 2)
        launch.interrupt()
        result = launch.finish()
        assert result.status == LaunchStatus.STOPPED
        assert result.confirmation[-1].startswith("to confirm when the search has ended: at most 6 trials")
        assert not has_chosen(launch)
        finished(launch)


def test_the_time_limit_ends_a_search_or_its_confirmation_and_the_next_process_goes_on(small_plan, in_memory):
    plan = small_plan(*CONFIRMED, "fixed.steps=60", "budget.time_limit=12s")
    with SimulatedLaunch(plan, in_memory, seed=0) as launch:
        ends = []
        while not ends or launch.results[-1].status != LaunchStatus.FINISHED:
            launch.start()
            launch.finish()
            ends.append((launch.results[-1].status, has_chosen(launch)))
        check_launch(launch)
    assert ends[0] == (LaunchStatus.STOPPED, False)
    assert (LaunchStatus.STOPPED, True) in ends
    assert len(choices(launch)) == 1


def test_a_search_in_which_nothing_finished_has_nothing_to_confirm(small_plan, in_memory):
    def diverging(spec):
        last = int(spec.hyperparameters.get("steps", 0))
        return {0: 30.0, last: math.nan if last else 30.0}

    with SimulatedLaunch(small_plan(*CONFIRMED), in_memory, seed=0, curve=diverging) as launch:
        result = finished(launch)
        assert (result.status, result.counts) == (LaunchStatus.FINISHED, {"finished": 4, "diverged": 6})
        assert result.confirmation == (
            "best baseline: random 2:4 30",
            "nothing to confirm: no configuration of the search finished on all of its seeds",
        )
        assert launch.store.tags["nmlab.planned"] == str(SEARCH)
        loads = launch.train.loads
        launch.start()
        assert launch.finish().status == LaunchStatus.FINISHED
        assert launch.train.loads == loads, "nothing is left to run"
        assert len(choices(launch)) == 1


def test_fewer_complete_configurations_than_asked_are_confirmed_and_that_is_said(small_plan, in_memory):
    def partly(spec):
        last = int(spec.hyperparameters.get("steps", 0))
        diverges = spec.hyperparameters.get("alpha", 0.9) > 0.9 and spec.seed == 2
        return {0: 30.0, last: math.nan if last and diverges else 30.0}

    with SimulatedLaunch(small_plan(*CONFIRMED), in_memory, seed=0, curve=partly) as launch:
        result = finished(launch)
        assert result.counts == {"finished": SEARCH - 2 + 4, "diverged": 2}
        assert chosen_alphas(launch) == [0.9, None]
        assert result.confirmation[-1] == (
            "confirmed 1 configuration and 1 baseline on the fresh seeds 1, 3; 2 were asked for, and no more finished "
            "on all of their seeds"
        )
        assert launch.store.tags["nmlab.planned"] == str(SEARCH + 4)


def test_a_grid_of_one_configuration_is_confirmed_by_it(small_plan, in_memory):
    plan = small_plan(*CONFIRMED, "space={}", "baselines=[]")
    assert plan.trials_text == "2 trials + 2 to confirm"
    with SimulatedLaunch(plan, in_memory, seed=0, curve=by_alpha) as launch:
        result = finished(launch)
    assert result.confirmation[0].startswith("the only configuration: maskpro 2:4, eval/perplexity ")
    assert result.confirmation[-1] == "confirmed 1 configuration on the fresh seeds 1, 3"


def test_each_pattern_has_its_best_confirmed(small_plan, in_memory):
    plan = small_plan(*CONFIRMED, "pattern={grid: ['2:4', '1:4']}", "search.confirm.top=1", "baselines=[]")
    assert plan.trials_text == "12 trials + 4 to confirm"

    def curve(spec):
        return {step: value + 50 * (spec.pattern == "1:4") for step, value in by_alpha(spec).items()}

    with SimulatedLaunch(plan, in_memory, seed=0, curve=curve) as launch:
        result = finished(launch)
        specs = [each["spec"] for each in choices(launch)[-1].chosen]
    assert {(spec["pattern"], spec["hyperparameters"]["alpha"]) for spec in specs} == {("2:4", 0.9), ("1:4", 0.9)}
    assert sum(line.startswith("best of 3 configurations: maskpro") for line in result.confirmation) == 2


def test_a_trial_that_failed_and_is_tried_again_does_not_change_what_was_chosen(small_plan, in_memory):
    """It would be the best, had it finished in time."""
    plan = small_plan(*CONFIRMED, "search.confirm.top=1", "fixed.steps=20", "baselines=[]")
    with SimulatedLaunch(plan, in_memory, seed=0, curve=by_alpha, max_failures=0) as launch:
        lose_a_trial(launch, alpha=0.9)
        launch.run_until(lambda: not launch.is_running)
        assert chosen_alphas(launch) == [0.95]
        finished(launch)
        assert len(choices(launch)) == 1
        lines = launch.results[-1].confirmation
    assert lines[0] == "best of 3 configurations: maskpro 2:4 alpha=0.9, not confirmed (search mean 30.91)"


def test_where_every_trial_failed_the_process_that_finishes_some_chooses(small_plan, in_memory):
    plan = small_plan(*CONFIRMED, "space={}", "seeds=[0]", "fixed.steps=20", "baselines=[]")
    with SimulatedLaunch(plan, in_memory, seed=0, max_failures=0) as launch:
        lose_a_trial(launch, alpha=0.99)
        assert launch.finish().counts == {"failed": 1}
        assert "nothing to confirm" in launch.results[-1].confirmation[-1]
        finished(launch)
        assert [bool(choice.chosen) for choice in choices(launch)] == [False, True]


def lose_a_trial(launch, *, alpha):
    """Start a driver, and kill the worker of the first trial with this alpha, which fails if no loss is allowed."""
    launch.start()
    launch.run_until(lambda: bool(hosts_of(launch, alpha)))
    (host,) = hosts_of(launch, alpha)
    launch.scheduler.kill(launch.train.up[host].worker)


def hosts_of(launch, alpha):
    submitted = [record for record in launch.written if isinstance(record, TrialSubmitted)]
    keys = {record.key for record in submitted if record.spec["hyperparameters"].get("alpha") == alpha}
    return {record.host for record in launch.written if isinstance(record, TrialLeased) and record.key in keys}


@every_seed
def test_a_full_disk_delays_the_choice_and_nothing_begins_before_it(small_plan, in_memory, seed):
    with SimulatedLaunch(small_plan(*CONFIRMED), in_memory, seed=seed) as launch:

        def full():
            if len(launch.ended()) == SEARCH:
                raise OSError(errno.ENOSPC, "No space left on device")

        launch.before_write = full
        launch.start()
        launch.run_until(lambda: len(launch.ended()) == SEARCH)
        launch.run_for(6.0)
        assert not has_chosen(launch)
        assert len({r.key for r in launch.written if isinstance(r, TrialSubmitted)}) == SEARCH
        assert "waiting for room" in launch.snapshots[-1]["trouble"]["disk"]
        launch.before_write = lambda: None
        launch.finish()
        check_launch(launch)


def test_ctrl_c_ends_the_wait_for_room_and_the_next_process_chooses(small_plan, in_memory):
    with SimulatedLaunch(small_plan(*CONFIRMED), in_memory, seed=0) as launch:

        def full():
            if len(launch.ended()) == SEARCH:
                raise OSError(errno.ENOSPC, "No space left on device")

        launch.before_write = full
        launch.start()
        launch.run_until(lambda: len(launch.ended()) == SEARCH)
        launch.run_for(3.0)
        launch.interrupt()
        launch.run_until(lambda: not launch.is_running)
        assert not has_chosen(launch)
        launch.before_write = lambda: None
        finished(launch)


def test_a_choice_is_on_disk_before_the_first_of_its_trials_begins(small_plan, in_memory, monkeypatch):
    """Each write that holds the choice is flushed, as those are that end a trial."""
    flushed = []
    append = Journal._append

    def noting(self, lines, *, on_disk):
        lines = list(lines)
        flushed.extend((line["event"], on_disk) for line in lines)
        append(self, lines, on_disk=on_disk)

    monkeypatch.setattr(Journal, "_append", noting)
    with SimulatedLaunch(small_plan(*CONFIRMED), in_memory, seed=0) as launch:
        finished(launch)
    assert ("confirmation chosen", True) in flushed
    assert ("confirmation chosen", False) not in flushed


def test_an_objective_on_validation_text_is_the_one_that_is_confirmed(small_plan, in_memory):
    text = "data.validation={source: 'builtin:python-docs', sequence_length: 32, windows: 4}"
    with SimulatedLaunch(small_plan(*CONFIRMED, text), in_memory, seed=0, curve=by_alpha) as launch:
        result = finished(launch)
    assert "validation/perplexity 40.92 on 2 fresh seeds (search mean 30.91)" in result.confirmation[0]


def test_a_study_without_the_section_is_as_before(small_plan, in_memory):
    with SimulatedLaunch(small_plan(), in_memory, seed=0) as launch:
        result = finished(launch)
        status, study = json.loads(launch.launch.status_file.read_text()), launch.launch.study_file.read_text()
        assert launch.plan.trials_text == "5 trials"
        assert "nmlab.confirmation_seeds" not in launch.store.tags
    assert result.confirmation == ()
    assert "confirm" not in json.dumps(status)
    assert "confirm" not in study
    assert "validation:" not in study


def test_trials_of_a_confirmation_have_the_keys_that_any_trial_of_theirs_has(small_plan, in_memory):
    plan, wide = small_plan(*CONFIRMED), small_plan(*CONFIRMED, "seeds=[0, 1, 2, 3]", "search={algorithm: grid}")
    with SimulatedLaunch(plan, in_memory / "narrow", seed=0) as narrow:
        finished(narrow)
    with SimulatedLaunch(wide, in_memory / "wide", seed=0) as other:
        finished(other)
    trials = {trial.spec.key for trial in trials_of(choices(narrow)[0])}
    assert trials <= {record.key for record in other.written if isinstance(record, TrialSubmitted)}

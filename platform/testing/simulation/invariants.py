"""What must hold of a launch whatever happened to it, told by its journal and by what reached MLflow."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping

from nmlab.platform.driver.confirm_search import choose
from nmlab.platform.launches.journal import has_ended_for_good, read_journal
from nmlab.platform.records.events import (
    ConfirmationChosen,
    JournalRecord,
    LaunchBegan,
    TrialEnded,
    TrialLeased,
    TrialMetrics,
    TrialSubmitted,
)
from nmlab.platform.search.confirmation import ConfirmationTrial, confirmations_of
from nmlab.platform.testing.simulation.simulated_launch import SimulatedLaunch
from nmlab.platform.testing.simulation.simulated_trials import steps_of
from nmlab.trials.contract import run_tags
from nmlab.trials.contract.run_status import LaunchStatus, TrialStatus
from nmlab.trials.contract.trial_spec import TrialSpec


def check_journal(launch: SimulatedLaunch) -> None:
    """Check a launch that may still run: fences hold, no message is recorded twice, no trial ends twice."""
    assert not launch.scheduler.failures, [(task.name, task.error) for task in launch.scheduler.failures]
    check_leases(launch.written)
    check_ends(launch.written)
    assert not launch.store.contradictions, "a step has two values"


def check_leases(records: list[JournalRecord]) -> None:
    """Check that points and ends come from the holder of the newest lease, and each step of a lease once."""
    epochs: dict[str, int] = {}
    holders: dict[str, str] = {}
    steps: dict[str, int] = {}
    for record in records:
        match record:
            case LaunchBegan():  # another driver has another dispatcher
                epochs, holders = {}, {}
            case TrialLeased():
                assert record.epoch is not None
                assert record.epoch > epochs.get(record.key, 0), f"epochs of {record.key} go back"
                epochs[record.key], holders[record.key], steps[record.key] = record.epoch, record.host, -1
            case TrialMetrics():
                assert record.host == holders.get(record.key), f"{record.host} reports {record.key} without its lease"
                assert record.step > steps[record.key], f"step {record.step} of {record.key} is recorded twice"
                steps[record.key] = record.step
            case TrialEnded() if record.host:
                assert record.host == holders.get(record.key), f"{record.host} ends {record.key} without its lease"


def check_ends(records: list[JournalRecord]) -> None:
    """Check that no trial ends, or is leased again, after it has ended for good."""
    ended_for_good: set[str] = set()
    for record in records:
        if isinstance(record, TrialEnded):
            assert record.key not in ended_for_good, f"{record.key} ends twice"
            result = record.result
            is_final = has_ended_for_good(result["status"], is_resumable=result.get("resumable", False))
            ended_for_good |= {record.key} if is_final else set()
        elif isinstance(record, TrialLeased):
            assert record.key not in ended_for_good, f"{record.key} has ended and is leased again"


def check_launch(launch: SimulatedLaunch, *, failed: frozenset[str] = frozenset()) -> None:
    """Check a launch that has ended: the planned number of ends, every point of what finished, and MLflow has it all.

    ``failed`` are the trials that may have failed.
    """
    check_journal(launch)
    assert _texts(read_journal(launch.launch)) == _texts(launch.written), "the journal is not what was written"
    result = launch.results[-1]
    assert (result.status, result.undelivered, dict(result.refused)) == (LaunchStatus.FINISHED, "", {})
    check_confirmation(launch)
    in_all = trials_in_all(launch)
    assert sum(result.counts.values()) == in_all
    ended = launch.ended()
    assert len(ended) == in_all, "another number of trials than planned"
    assert {key for key, found in ended.items() if found["status"] == TrialStatus.FAILED} <= failed, ended
    assert Counter(found["status"] for found in ended.values()) == Counter(result.counts)
    check_points(launch)
    check_store(launch)


def check_confirmation(launch: SimulatedLaunch) -> None:
    """Check that a search that is to be confirmed was confirmed by one choice, which its results give, and by no other.

    Nothing of it begins before the choice is in the journal; MLflow knows these trials from those of the search. An
    extended launch has one choice for each version of its study that came to the end of its search, and the choices of
    earlier versions stay.
    """
    if launch.plan.confirmation is None:
        assert not confirmations_of(launch.written).choices
        return
    places = [place for place, record in enumerate(launch.written) if isinstance(record, ConfirmationChosen)]
    last = places[-1]
    before, choice = launch.written[:last], launch.written[last]
    assert isinstance(choice, ConfirmationChosen)
    chosen = [each.of_version for each in confirmations_of(launch.written).choices if each.chosen]
    assert len(chosen) == len(set(chosen)), "it was chosen twice"
    if choice.of_version == launch.plan.version:
        assert choose(launch.plan, before) == choice, "its results give another choice"
    earlier = launch.plan.confirmations(before).trials
    confirming = launch.plan.confirmations(launch.written).trials
    submitted = {record.key for record in before if isinstance(record, TrialSubmitted)}
    assert not submitted & (confirming.keys() - earlier.keys())
    check_confirmed_runs(launch, confirming)


def check_confirmed_runs(launch: SimulatedLaunch, confirming: Mapping[str, ConfirmationTrial]) -> None:
    """Check that MLflow has the trials of a confirmation as such, with their roles, and no others."""
    runs = launch.store.runs
    assert {key for key, run in runs.items() if run_tags.CONFIRMATION in run.tags} == confirming.keys()
    assert {key: runs[key].role for key in confirming} == {key: trial.role for key, trial in confirming.items()}
    in_all = trials_in_all(launch)
    assert launch.store.tags[run_tags.PLANNED] == str(in_all), "MLflow has another number of planned trials"


def trials_in_all(launch: SimulatedLaunch) -> int:
    """Return the number of trials of a launch that has ended."""
    plan = launch.plan
    return plan.trials_in_all(plan.confirmations(launch.written), withheld=plan.withheld(launch.written))


def _texts(records: Iterable[JournalRecord]) -> list[str]:
    return [json.dumps(record.to_json(), sort_keys=True) for record in records]


def check_points(launch: SimulatedLaunch) -> None:
    """Check that the journal has every step of the trials that finished."""
    specs = {record.key: record.spec for record in launch.written if isinstance(record, TrialSubmitted)}
    reached = {(record.key, record.step) for record in launch.written if isinstance(record, TrialMetrics)}
    for key, found in launch.ended().items():
        if found["status"] == TrialStatus.FINISHED:
            wanted = {(key, step) for step in range(1, steps_of(TrialSpec.from_record(specs[key])) + 1)}
            assert wanted <= reached, f"steps of {key} are missing: {sorted(wanted - reached)}"


def check_store(launch: SimulatedLaunch) -> None:
    """Check that MLflow has one run for each trial, closed as the journal says, and every point of the journal."""
    store, ended = launch.store, launch.ended()
    assert store.status == LaunchStatus.FINISHED
    assert {key: run.status for key, run in store.runs.items()} == {key: end["status"] for key, end in ended.items()}
    points = {(r.key, name, r.step) for r in launch.written if isinstance(r, TrialMetrics) for name in r.values}
    assert points == {(key, *point) for key, run in store.runs.items() for point in run.points}

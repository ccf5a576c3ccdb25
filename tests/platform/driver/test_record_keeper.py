"""The records of a sweep belong to one thread at a time; other threads leave theirs in a queue."""

import threading
from dataclasses import replace

import pytest

from nmlab.platform.driver.close_launch import close_launch
from nmlab.platform.driver.open_launch import open_launch
from nmlab.platform.driver.record_keeper import RecordKeeper
from nmlab.platform.launches import launch as launches
from nmlab.platform.launches.journal import read_journal
from nmlab.platform.launches.ownership import owned
from nmlab.platform.records.events import ConfirmationChosen, ReplicaStarted, TrainRunLost, event_of
from nmlab.trials.contract.run_status import LaunchStatus

LOST = TrainRunLost(host="replica-0", error="gone")
FACTS = {"slots": 1, "device": "cpu", "model_digest": "d" * 16}


@pytest.fixture
def opened(plan_of, tracking_uri, tmp_path):
    plan = plan_of()
    settings = {"tracking_uri": tracking_uri, "address": None, "max_failures": 3}
    launch = launches.create(plan.study, results=tmp_path / "results", settings=settings)
    return open_launch(plan, launch, tracking_uri=tracking_uri)


@pytest.fixture
def shown():
    return []


@pytest.fixture
def keeper(opened, shown):
    with owned(opened.launch.folder) as ownership:
        keeper = RecordKeeper(opened, ownership=ownership, gives_up=lambda: False, watch=shown.append)
        yield keeper
        opened.recorder.give_up()
        opened.journal.close()


def in_a_thread(work):
    """Run ``work`` in a thread of its own; raise what it raised."""
    errors = []

    def run():
        try:
            work()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def events(opened):
    return [event_of(record) for record in read_journal(opened.launch)]


@pytest.mark.parametrize(
    "call",
    [
        lambda keeper: keeper.keep([LOST]),
        lambda keeper: keeper.accept([LOST]),
        lambda keeper: keeper.publish(force=True),
        lambda keeper: keeper.hand_over(),
    ],
)
def test_a_thread_that_does_not_own_the_records_is_refused(opened, keeper, shown, call):
    with pytest.raises(RuntimeError, match="may not record: another one does"):
        in_a_thread(lambda: call(keeper))
    assert events(opened) == []
    assert not shown
    assert not opened.launch.status_file.exists()


def test_the_records_go_to_the_thread_that_calls_first_and_come_back(opened, keeper):
    keeper.hand_over()
    in_a_thread(lambda: keeper.keep([LOST]))
    with pytest.raises(RuntimeError, match="may not record"):
        keeper.keep([LOST])
    keeper.claim()
    keeper.keep([LOST])
    with pytest.raises(RuntimeError, match="may not record"):
        in_a_thread(lambda: keeper.keep([LOST]))
    assert events(opened) == [LOST.event] * 2


def test_what_another_thread_notes_is_kept_in_order_by_the_owner(opened, keeper):
    in_a_thread(lambda: [keeper.enqueue(replace(LOST, error=str(number))) for number in range(3)])
    assert events(opened) == []
    keeper.keep_enqueued()
    assert [record.error for record in read_journal(opened.launch)] == ["0", "1", "2"]
    keeper.keep_enqueued()
    assert len(events(opened)) == 3


def test_what_is_noted_last_is_kept_before_the_end(opened, keeper):
    keeper.hand_over()
    in_a_thread(lambda: keeper.accept([ReplicaStarted(host="replica-0", incarnation=1, **FACTS)]))
    in_a_thread(lambda: keeper.enqueue(LOST))
    result = close_launch(opened, keeper=keeper, is_interrupted=True)
    assert events(opened) == ["replica", "train run lost", "launch ended"]
    assert (result.model_loads, result.status, result.interrupted) == (1, LaunchStatus.STOPPED, True)


def test_every_thread_may_say_that_the_launch_stops(keeper, shown):
    in_a_thread(keeper.show_stopping)
    keeper.publish(force=True)
    assert shown[-1]["phase"] == LaunchStatus.STOPPING


def test_who_notes_a_record_can_wait_until_it_is_in_the_journal(opened, keeper):
    keeper.hand_over()
    kept = keeper.enqueue(LOST)
    in_a_thread(keeper.publish)
    assert not kept.is_set()
    in_a_thread(keeper.claim)
    assert not kept.wait(0.0)
    keeper.claim()
    keeper.keep_enqueued()
    assert kept.is_set()
    assert events(opened) == [LOST.event]


def test_a_record_that_cannot_be_kept_is_never_said_to_be(keeper, monkeypatch):
    def full(records):
        raise OSError("read-only file system")

    kept = keeper.enqueue(LOST)
    with monkeypatch.context() as patch:
        patch.setattr(keeper._opened.recorder, "record", full)
        with pytest.raises(OSError, match="read-only"):
            keeper.keep_enqueued()
    assert not kept.is_set()


def test_what_was_chosen_to_confirm_the_search_is_in_the_state_once_it_is_kept(opened, keeper):
    spec = opened.plan.baselines[0].model_copy(update={"seed": 9})
    chosen = [{"configuration": spec.configuration, "role": "baseline", "spec": spec.model_dump(mode="json")}]
    record = ConfirmationChosen(seeds=[8, 9], chosen=chosen, metric="m", asked=1, looked_at=1, tags={})
    keeper.enqueue(record)
    keeper.keep_enqueued()
    assert list(opened.confirmations.trials)[1] == spec.key
    assert opened.state.trials_in_all == opened.plan.search_trials + 2

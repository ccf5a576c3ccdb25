"""The time left follows the seconds of trials that have ended and the pace of those that run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmlab.platform.launches.time_left import SEARCH, StepPace, TimeLeft, TrialWork, time_left


def seconds_left(trials, **others):
    """The estimate, where every kind of trials is measured."""
    found = time_left(trials, **others)
    return None if found is None or found.unmeasured else found.seconds


def finished(steps=100, seconds=50.0, **others):
    return TrialWork("maskpro", steps=steps, step=steps, has_ended=True, seconds=seconds, **others)


def test_work_that_is_left_is_divided_by_the_work_done_in_a_second():
    """Two of four trials are done, in 50 s with two slots; the third is half done."""
    half = TrialWork("maskpro", steps=100, step=50)
    # done 50 + 50 + 25 = 125 s of trials in 62.5 s; left 25 + 50 = 75 s of trials
    assert seconds_left([finished(), finished(), half], to_come=1, elapsed=62.5) == pytest.approx(37.5)


def test_baselines_do_not_say_how_long_the_search_takes():
    rule = TrialWork("wanda", has_ended=True, seconds=1.0, is_of_search=False)
    assert seconds_left([rule], to_come=5, elapsed=1.0) is None
    assert seconds_left([rule, finished()], to_come=1, elapsed=51.0) == pytest.approx(50.0)


def test_before_a_trial_has_ended_the_pace_of_those_that_run_tells():
    running = TrialWork("maskpro", steps=100, step=20, pace=0.5)
    assert seconds_left([running], to_come=1, elapsed=10.0) == pytest.approx(90.0)
    assert seconds_left([TrialWork("maskpro", steps=100, step=20)], to_come=1, elapsed=10.0) is None


def test_a_kind_that_is_not_measured_leaves_a_lower_bound_that_names_it():
    """Two slots: one did 50 s of susi in 50 s, in the other maskpro has worked since the start and told nothing."""
    susi = TrialWork("susi", steps=100, step=100, has_ended=True, seconds=50.0, is_of_search=False)
    next_susi = TrialWork("susi", steps=100, is_of_search=False)
    silent = TrialWork("maskpro", steps=100, is_running=True)
    found = time_left([susi, next_susi, silent], to_come=0, elapsed=50.0)
    assert found == TimeLeft(pytest.approx(25.0), ("maskpro",)), "two slots work, so 50 s of trials take 25 s at least"
    waiting = TrialWork("maskpro", steps=100)
    assert time_left([susi, next_susi, waiting], to_come=9, elapsed=50.0) == TimeLeft(pytest.approx(50.0), ("maskpro",))


def test_what_is_to_come_is_named_before_the_search_has_begun():
    rule = TrialWork("wanda", has_ended=True, seconds=1.0, is_of_search=False)
    assert time_left([rule], to_come=5, elapsed=1.0) == TimeLeft(0.0, (SEARCH,))


def test_a_longer_trial_takes_longer():
    running = TrialWork("maskpro", steps=400, step=0)
    assert seconds_left([finished(), running], to_come=0, elapsed=50.0) == pytest.approx(200.0)


def test_what_earlier_processes_did_is_no_work_of_this_one():
    resumed = finished(earlier_step=50)  # 25 s of it here
    before = finished(is_earlier=True)
    assert seconds_left([before, resumed], to_come=1, elapsed=25.0) == pytest.approx(50.0)
    assert seconds_left([before], to_come=1, elapsed=25.0) is None, "nothing is measured here"


def test_nothing_is_left_when_all_have_ended():
    assert seconds_left([finished(seconds=None)], to_come=0, elapsed=0.0) == 0.0


def test_the_pace_is_that_of_the_newest_lease_and_begins_anew_where_steps_repeat():
    pace = StepPace()
    assert pace.seconds_a_step is None
    for step, time in ((10, 1_000), (20, 6_000)):
        pace.follow(step, time)
    assert pace.seconds_a_step == 0.5
    pace.follow(12, 1_000_000)  # moved to another replica, and repeats steps
    assert pace.seconds_a_step is None
    pace.follow(14, 1_004_000)
    assert pace.seconds_a_step == 2.0


WORKS = st.builds(
    TrialWork,
    st.sampled_from(["maskpro", "susi", "wanda"]),
    steps=st.integers(0, 100),
    step=st.integers(0, 100),
    earlier_step=st.integers(0, 100),
    has_ended=st.booleans(),
    is_earlier=st.booleans(),
    seconds=st.none() | st.floats(0, 1e6),
    pace=st.none() | st.floats(0, 1e3),
    is_of_search=st.booleans(),
    is_running=st.booleans(),
)


@given(st.lists(WORKS, max_size=8), st.integers(0, 50), st.floats(0, 1e6))
def test_it_is_never_negative(trials, to_come, elapsed):
    left = time_left(trials, to_come=to_come, elapsed=elapsed)
    assert left is None or left.seconds >= 0

"""On which Ray a launch runs; no Ray is started here."""

import signal
import threading

import pytest
import ray

from nmlab.platform.api import connection
from nmlab.platform.api.launching import kept_signal_handlers
from nmlab.platform.cluster import session
from nmlab.platform.cluster.session import CONNECTED, cluster, is_connected
from nmlab.platform.driver.start_launch import recorded_address, resumed_address

PRESENT = "10.0.0.1:6379"


@pytest.fixture
def connected(monkeypatch):
    """A process that is connected to the Ray at ``PRESENT``, which must be left alone."""
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_runtime_context", lambda: type("Context", (), {"gcs_address": PRESENT}))
    for name in ("init", "shutdown"):
        monkeypatch.setattr(ray, name, lambda *_, **__: pytest.fail("the connection of the caller was touched"))


@pytest.mark.parametrize("given", [None, "local", PRESENT, "auto"])
def test_a_process_without_a_connection_takes_what_is_given(given, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", PRESENT)
    assert not is_connected()
    assert connection.chosen_address(given) == given


@pytest.mark.parametrize("given", [None, PRESENT])
def test_a_connected_process_stays_where_it_is(connected, given):
    assert connection.chosen_address(given) == CONNECTED


@pytest.mark.parametrize("given", ["local", "auto", "10.0.0.2:6379"])
def test_another_ray_beside_the_callers_own_is_refused(connected, given):
    line = f"address '{given}': this process is connected to the Ray at {PRESENT} already; give no address to use it"
    with pytest.raises(ValueError, match=line):
        connection.chosen_address(given)


def test_the_callers_ray_is_neither_started_nor_ended(connected, monkeypatch):
    monkeypatch.setattr(session, "started_processes", list)
    with cluster(CONNECTED):
        pass
    for given in (None, "auto"):
        with pytest.raises(ValueError, match="this process is already connected to Ray"), cluster(given):
            pass


def test_a_connection_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"not connected to Ray; call ray\.init\(\) first"), cluster(CONNECTED):
        pass


def test_ray_client_is_refused(connected, monkeypatch):
    from ray.util.client import ray as through_client

    monkeypatch.setattr(through_client, "is_connected", lambda: True)
    with pytest.raises(ValueError, match="connected through Ray Client"):
        connection.chosen_address(None)


@pytest.mark.parametrize(("is_own", "recorded"), [(True, None), (False, "auto")])
def test_a_launch_records_how_a_later_process_finds_its_cluster(monkeypatch, is_own, recorded):
    monkeypatch.setattr(session, "started_here", lambda: is_own)
    assert recorded_address(CONNECTED) == recorded
    assert [recorded_address(each) for each in (None, PRESENT)] == [None, PRESENT]
    assert resumed_address(CONNECTED, stored=PRESENT, launch="x") == CONNECTED


def test_signal_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with kept_signal_handlers():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) != before[1]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_thread_leaves_signal_handlers_alone():
    ended = []

    def elsewhere():
        with kept_signal_handlers():
            ended.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert ended == [True]

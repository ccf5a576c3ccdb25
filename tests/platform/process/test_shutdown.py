"""Shutdown on a signal: in order first, at once on the second, in bounded time, with all started processes."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from nmlab.platform.cluster.head_watch import HeadWatch
from nmlab.platform.process.served import serve
from nmlab.platform.process.shutdown import SIGNALS, Shutdown, bounded, end_processes, started_processes

SLEEP = "import time; time.sleep(600)"


def child(code):
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


LEAVES = f"""
import subprocess, sys, time
import nmlab.platform.process.shutdown as shutdown
shutdown.KILL_AFTER_SECONDS = {{limit}}
with shutdown.Shutdown(lambda: print("asked", flush=True), is_saving=lambda: {{saving}}, resume="nmlab resume x",
                     exits=True) as taken:
    taken.wind_down()
    started = subprocess.Popen([sys.executable, "-c", {SLEEP!r}])
    print(started.pid, flush=True)
    while True:
        time.sleep(0.1)
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_the_second_signal_ends_this_process_and_what_it_has_started(number):
    process = child(LEAVES.format(limit=600, saving=True))
    started = psutil.Process(int(process.stdout.readline()))
    process.send_signal(number)
    assert process.stdout.readline() == "asked\n"
    process.send_signal(number)
    assert process.wait(30) == 1
    assert process.stderr.read() == "nmlab: ended at once; go on with: nmlab resume x\n"
    _, alive = psutil.wait_procs([started], timeout=10)
    assert not alive


@pytest.mark.slow
def test_what_hangs_is_left_behind_when_time_is_up():
    process = child(LEAVES.format(limit=1.0, saving=False))
    started = psutil.Process(int(process.stdout.readline()))
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 1
    assert "were killed; go on with: nmlab resume x" in process.stderr.read()
    _, alive = psutil.wait_procs([started], timeout=10)
    assert not alive


@pytest.mark.slow
def test_trials_that_save_themselves_are_given_more_time():
    process = child(LEAVES.format(limit=0.5, saving=True))
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    process.stdout.readline()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.2)
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == 1


@pytest.mark.parametrize("number", SIGNALS)
def test_a_process_that_is_not_our_own_is_not_ended(number):
    asked, before = [], signal.getsignal(number)
    with Shutdown(lambda: asked.append(1), is_saving=lambda: False, resume="", exits=False) as shutdown:
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(number)
        assert shutdown.began is not None
    assert asked == [1]
    assert signal.getsignal(number) == before


def test_a_signal_while_all_is_being_ended_raises_nothing():
    with Shutdown(lambda: None, is_saving=lambda: False, resume="", exits=False) as shutdown:
        shutdown.wind_down()
        signal.raise_signal(signal.SIGTERM)
        assert shutdown.began is not None


def test_bounded():
    assert bounded(lambda: None, within=5, name="quick")
    assert not bounded(lambda: time.sleep(5), within=0.1, name="slow")


def test_processes_that_do_not_end_are_killed():
    with child("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP) as process:
        (found,) = [each for each in started_processes() if each.pid == process.pid]
        end_processes([found], within=0.1)
        assert process.wait(10) == -signal.SIGKILL


def test_a_killed_process_that_nobody_waits_for_is_not_alive():
    with child(SLEEP) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # until it is dead; it stays a zombie
        assert process.pid in psutil.pids()
        assert process.pid not in [each.pid for each in started_processes()]


def watched(address, ask, monkeypatch, *, silent=0.6):
    lost, was_called = [], threading.Event()
    monkeypatch.setattr("nmlab.platform.cluster.head_watch.UNREACHABLE_SECONDS", 0.6)
    monkeypatch.setattr("nmlab.platform.cluster.head_watch.UNANSWERED_SECONDS", silent)
    monkeypatch.setattr("nmlab.platform.cluster.head_watch._PAUSE_SECONDS", 0.1)
    watch = HeadWatch(address, lost=lambda reason: (lost.append(reason), was_called.set()), ask=ask)
    return watch, lost, was_called


def test_a_head_that_answers_is_there(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        watch, lost, was_called = watched(f"127.0.0.1:{server.getsockname()[1]}", lambda: None, monkeypatch)
        assert not was_called.wait(1.2)
        watch.stop()
    assert not lost


def refused():
    raise OSError("no")


@pytest.mark.parametrize("how", ["no server", "it does not answer", "it hangs"])
def test_a_head_that_does_not_answer_is_lost(monkeypatch, how):
    asks = {"no server": lambda: None, "it does not answer": refused, "it hangs": lambda: time.sleep(5)}
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        if how == "no server":
            server.close()
        _, lost, was_called = watched(address, asks[how], monkeypatch)
        assert was_called.wait(30)
    what = "has taken no connection" if how == "no server" else "has not answered"
    assert lost[0].startswith(f"the head of the Ray cluster, {address}, {what} for")
    time.sleep(0.5)
    assert len(lost) == 1


@pytest.mark.parametrize("ask", [refused, lambda: time.sleep(5)])
@pytest.mark.slow
def test_a_head_that_takes_connections_and_is_slow_is_not_lost_as_soon(monkeypatch, ask):
    """As one on an overloaded machine is."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        watch, lost, was_called = watched(f"127.0.0.1:{server.getsockname()[1]}", ask, monkeypatch, silent=30.0)
        assert not was_called.wait(1.2)
        watch.stop()
    assert not lost


SERVER = f"""
import os, subprocess, sys, time
print(os.getpid(), flush=True)
for _ in range(2):
    print(subprocess.Popen([sys.executable, "-c", {SLEEP!r}]).pid, flush=True)
print(subprocess.Popen([sys.executable, "-c", {SLEEP!r}], start_new_session=True).pid, flush=True)
time.sleep(600)
"""
SERVES = f"""
import sys
from nmlab.platform.process.served import serve
sys.exit(serve([sys.executable, "-c", {SERVER!r}]))
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_a_server_ends_with_all_its_children(number):
    process = child(SERVES)
    served = [psutil.Process(int(process.stdout.readline())) for _ in range(4)]
    process.send_signal(number)
    assert process.wait(30) == 0, process.stderr.read()
    _, alive = psutil.wait_procs(served, timeout=10)
    assert not alive


def test_the_exit_code_of_a_server_that_fails():
    assert serve([sys.executable, "-c", "raise SystemExit(3)"]) == 3

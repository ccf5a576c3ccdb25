"""A second process is refused with the name of the owner; only an owner that is gone can be replaced."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from nmlab.platform.launches import ownership
from nmlab.platform.launches.ownership import OwnedError, OwnershipLostError, check_not_owned, owned, read_owner
from nmlab.trials.files.checked_json import write_checked

HOLD = """
import sys, time
from pathlib import Path
from nmlab.platform.launches.ownership import owned
with owned(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(100)
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(ownership, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(ownership, "SILENT_OWNER_SECONDS", 0.5)


def hold(folder):
    """Start a process that owns the launch."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "mine\n"
    return process


def test_the_second_is_refused_in_one_line_that_names_the_first(folder):
    process = hold(folder)
    try:
        with pytest.raises(OwnedError) as raised, owned(folder):
            pass
        with pytest.raises(OwnedError), owned(folder, take_over=True):
            pass
        for take_over in (False, True):
            with pytest.raises(OwnedError, match=re.escape(str(raised.value))):
                check_not_owned(folder, take_over=take_over)
    finally:
        process.kill()
        process.wait()
    assert str(raised.value).startswith(f"launch {folder.name} is owned by process {process.pid} of ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_of_a_process_that_died_here_nothing_is_left(folder, end):
    process = hold(folder)
    process.send_signal(end)
    process.wait()
    assert read_owner(folder).released is False
    with owned(folder):
        assert read_owner(folder).pid == os.getpid()
    assert read_owner(folder).released is True


def elsewhere(folder, *, beat=0, released=False):
    """Leave the file of an owner on another machine, to which the lock does not reach."""
    with owned(folder):
        owner = read_owner(folder)
    owner = replace(owner, host="node7", machine="another", token="theirs", beat=beat, released=released)
    write_checked(folder / "owner.json", asdict(replace(owner, beaten=time.time() - 90)), format=1)


def test_an_owner_elsewhere_is_taken_over_only_when_asked_and_silent(folder):
    elsewhere(folder)
    with pytest.raises(OwnedError, match=r"on node7.*last heartbeat 9\d s ago.*--take-over"), owned(folder):
        pass
    with pytest.raises(OwnedError, match="--take-over"):
        check_not_owned(folder)
    check_not_owned(folder, take_over=True)
    assert read_owner(folder).host == "node7", "a check changes nothing"
    with owned(folder, take_over=True):
        assert read_owner(folder).pid == os.getpid()


def beat_on(folder, count):
    for beat in range(count):
        elsewhere_owner = replace(read_owner(folder), beat=beat)
        write_checked(folder / "owner.json", asdict(elsewhere_owner), format=1)
        time.sleep(0.02)


def test_an_owner_elsewhere_that_beats_keeps_its_launch(folder):
    elsewhere(folder)
    beating = multiprocessing.get_context("fork").Process(target=beat_on, args=(folder, 50))
    beating.start()
    try:
        with pytest.raises(OwnedError, match="it is alive, so it cannot be taken over"), owned(folder, take_over=True):
            pass
    finally:
        beating.join()


def test_one_that_let_go_elsewhere_owns_nothing(folder):
    elsewhere(folder, released=True)
    with owned(folder):
        assert read_owner(folder).host != "node7"


def test_an_owner_that_was_replaced_notices_and_lets_the_other_be(folder):
    with owned(folder) as mine:
        mine.check()
        theirs = replace(read_owner(folder), host="node7", token="theirs")
        write_checked(folder / "owner.json", asdict(theirs), format=1)
        deadline = time.monotonic() + 10
        while mine._lost is None and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(OwnershipLostError, match=r"taken over by process .* on node7"):
            mine.check()
    assert read_owner(folder) == theirs


def test_without_locks_the_process_table_tells(folder, monkeypatch):
    process = hold(folder)
    monkeypatch.setattr(ownership, "_locked", lambda folder: -1)
    try:
        with pytest.raises(OwnedError, match=f"process {process.pid} "), owned(folder):
            pass
    finally:
        process.kill()
        process.wait()
    with owned(folder):
        assert read_owner(folder).pid == os.getpid()

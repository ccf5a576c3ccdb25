"""Stages find each other through keys that only they can read and write, and refuse others without their secret."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch

from nmlab.platform.pipeline.stage_store import StageStore
from nmlab.trials.contract.errors import DivergedError, PeerError, PipelineLostError
from nmlab.trials.parallel.distributed_group import DistributedGroup

SECRET = b"s" * 32
SHORT = timedelta(seconds=20)


class Table(dict):
    """A table of bytes in this process."""

    def put(self, key, value):
        self[key] = value

    def delete(self, key):
        self.pop(key, None)


def store(table, *, secret=SECRET, patience=SHORT):
    return StageStore(table, secret=secret, patience=patience)


def ranks(*work):
    with ThreadPoolExecutor(len(work)) as pool:
        return [each.result(timeout=60) for each in [pool.submit(one) for one in work]]


def test_a_value_that_is_set_is_read_also_by_a_stage_that_waits_for_it():
    table = Table()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(store(table).get, "a")
        time.sleep(0.05)
        store(table).set("a", b"1")
        assert answer.result(timeout=10) == b"1"
    assert store(table).check(["a"])
    assert not store(table).check(["a", "b"])


def test_keys_cannot_be_read_and_are_not_found_with_another_secret():
    table = Table()
    store(table).set("slot-0/all", b"value")
    assert not any(b"slot" in key for key in table)
    assert not store(table, secret=b"other").check(["slot-0/all"])
    with pytest.raises(TimeoutError, match="another stage has not written its address"):
        store(table, secret=b"other", patience=timedelta(seconds=0.05)).get("slot-0/all")


@pytest.mark.parametrize("damage", [lambda value: b"x" + value, lambda value: value[:-1], lambda value: b""])
def test_a_value_that_another_wrote_is_refused(damage):
    table = Table()
    store(table).set("a", b"value")
    for key in table:
        table[key] = damage(table[key])
    with pytest.raises(PermissionError, match="a: written without the secret"):
        store(table).get("a")


def test_a_value_does_not_count_under_another_key():
    table = Table()
    store(table).set("a", b"1")
    store(table).set("b", b"2")
    first, second = table
    table[first], table[second] = table[second], table[first]
    with pytest.raises(PermissionError):
        store(table).get("a")


def test_a_group_connects_works_recovers_and_leaves_no_key():
    table = Table()

    def stage(rank):
        own = store(table)
        pipeline = DistributedGroup(own, name="slot-0", rank=rank, size=3, secret=SECRET)
        pipeline.all_gather(None)
        own.forget()
        if rank < 2:
            pipeline.send(torch.arange(3.0), to=rank + 1)
        if rank:
            assert pipeline.receive(torch.zeros(3), by=rank - 1).tolist() == [0, 1, 2]
        assert pipeline.all_gather(rank) == [0, 1, 2]
        error = pipeline.recover(DivergedError("gone") if rank == 1 else PeerError("follows"))
        assert pipeline.broadcast("again") == "again"
        own.forget()
        return type(error)

    found = ranks(*(lambda rank=rank: stage(rank) for rank in range(3)))
    assert found == [DivergedError] * 3
    assert not table


def test_a_rank_without_the_secret_ends_the_group():
    """It knows the addresses, so that gloo itself accepts it."""
    table = Table()

    def stage(rank, secret):
        with pytest.raises(PipelineLostError, match="does not know the launch's secret"):
            DistributedGroup(store(table), name="slot-0", rank=rank, size=2, secret=secret)

    ranks(lambda: stage(0, SECRET), lambda: stage(1, b"guess"))


def test_a_group_listens_on_its_address_alone_and_survives_bytes_of_strangers():
    table, ready, done = Table(), threading.Barrier(3), threading.Event()

    def stage(rank):
        pipeline = DistributedGroup(store(table), name="slot-0", rank=rank, size=2, secret=SECRET)
        ready.wait(30)
        done.wait(30)
        return pipeline.all_gather(rank)

    def stranger():
        ready.wait(30)
        try:
            found = listeners()
            assert found
            assert all(address == "0100007F" for address, _ in found), found
            for _, port in found:
                with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                    connection.sendall(b"\0" * 8 + b"GET / HTTP/1.1\r\n\r\n")
            return len(found)
        finally:
            done.set()

    results = ranks(lambda: stage(0), lambda: stage(1), stranger)
    assert results[:2] == [[0, 1], [0, 1]]


def listeners():
    """Return (hexadecimal address, port) of every TCP socket on which this process listens."""
    from pathlib import Path

    links = (each for each in Path("/proc/self/fd").iterdir())
    own = set()
    for link in links:
        try:
            own.add(str(link.readlink()))
        except OSError:
            continue
    found = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/self/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                address, port = fields[1].split(":")
                found.append((address, int(port, 16)))
    return found

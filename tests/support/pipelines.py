"""Crews whose members are threads of one process."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore

from nmlab.trials.models import frozen
from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS, DistributedGroup


@pytest.fixture
def run_pipeline(monkeypatch) -> Callable[..., list]:
    """Run ``work(crew)`` as every member of a crew, each in a thread of its own; return what they return, by rank."""
    reading, read_stage = threading.Lock(), frozen.read_stage

    def read_alone(*args, **kwargs):
        with reading:  # while it loads, transformers changes its classes: nothing for several threads of a process
            return read_stage(*args, **kwargs)

    monkeypatch.setattr(frozen, "read_stage", read_alone)

    def run(size: int, work: Callable, *, slots: int = 1) -> list:
        if size == 1:
            return [work(SINGLE_PROCESS)]
        store = HashStore()

        def member(rank: int, slot: int):
            return work(DistributedGroup(store, name=f"slot-{slot}", rank=rank, size=size))

        pool = ThreadPoolExecutor(size * slots)
        members = [pool.submit(member, rank, slot) for slot in range(slots) for rank in range(size)]
        try:
            return [member.result(timeout=60) for member in members]
        finally:
            pool.shutdown(wait=False)

    return run

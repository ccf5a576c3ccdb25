"""Pipeline groups whose ranks are threads of one process."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore

from nmlab.trials.models import frozen
from nmlab.trials.parallel.distributed_group import DistributedGroup
from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS


@pytest.fixture
def run_pipeline(monkeypatch) -> Callable[..., list]:
    """Run ``work(pipeline)`` as every rank of a pipeline group, each in its own thread; return the results by rank."""
    reading, read_stage = threading.Lock(), frozen.read_stage

    def read_alone(*args, **kwargs):
        with reading:  # transformers changes its classes while it loads, which is not safe in several threads
            return read_stage(*args, **kwargs)

    monkeypatch.setattr(frozen, "read_stage", read_alone)

    def run(size: int, work: Callable, *, slots: int = 1) -> list:
        if size == 1:
            return [work(SINGLE_PROCESS)]
        store = HashStore()

        def run_rank(rank: int, slot: int):
            return work(DistributedGroup(store, name=f"slot-{slot}", rank=rank, size=size))

        pool = ThreadPoolExecutor(size * slots)
        ranks = [pool.submit(run_rank, rank, slot) for slot in range(slots) for rank in range(size)]
        try:
            return [rank.result(timeout=60) for rank in ranks]
        finally:
            pool.shutdown(wait=False)

    return run

"""Messages between the ranks of a pipeline group arrive whole, of any size; sums do not depend on how layers split."""

import random

import pytest
import torch

from nmlab.trials.contract.errors import DivergedError, PeerError

LONG = "x" * 5000  # takes a second transfer


@pytest.mark.parametrize("value", [None, 1.5, (1, "two"), LONG])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_broadcast(value, size, run_pipeline):
    last = size - 1
    received = run_pipeline(
        size, lambda pipeline: (pipeline.broadcast(value), pipeline.broadcast_from_last(lambda: (pipeline.rank, value)))
    )
    assert received == [(value, (last, value))] * size


@pytest.mark.parametrize("size", [1, 2, 3])
def test_all_gather_gather_and_scatter(size, run_pipeline):
    """Messages of different lengths, one of them long."""

    def talk(pipeline):
        own = LONG[: 3000 * pipeline.rank]
        return pipeline.all_gather(own), pipeline.gather(own), pipeline.scatter([f"for {rank}" for rank in range(size)])

    all_of_them = [LONG[: 3000 * rank] for rank in range(size)]
    for rank, (everyone, gathered, scattered) in enumerate(run_pipeline(size, talk)):
        assert everyone == all_of_them
        assert gathered == (all_of_them if rank == 0 else [])
        assert scattered == f"for {rank}"


def test_sums_do_not_depend_on_how_they_are_split(run_pipeline):
    draw = random.Random(0)
    parts = [draw.gauss(0, 1) * 10 ** draw.randint(-12, 12) for _ in range(60)]
    (whole,) = run_pipeline(1, lambda pipeline: pipeline.all_reduce_sum(parts))
    for size in (2, 3):
        cut = 60 // size
        sums = run_pipeline(
            size,
            lambda pipeline, cut=cut: pipeline.all_reduce_sum(parts[cut * pipeline.rank : cut * (pipeline.rank + 1)]),
        )
        assert sums == [whole] * size
    assert run_pipeline(3, lambda pipeline: pipeline.all_reduce_count(pipeline.rank + 1)) == [6, 6, 6]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_go_to_neighbours_and_back(dtype, run_pipeline):
    sent = torch.randn(2, 3, 5).to(dtype).transpose(1, 2)

    def pass_on(pipeline):
        if pipeline.rank < 2:
            pipeline.send(sent * (pipeline.rank + 1), to=pipeline.rank + 1)
        received = pipeline.receive(sent, by=pipeline.rank - 1) if pipeline.rank else sent
        if pipeline.rank:
            pipeline.send(received, to=pipeline.rank - 1)
        return received, pipeline.receive(sent, by=pipeline.rank + 1) if pipeline.rank < 2 else None

    for rank, (received, returned) in enumerate(run_pipeline(3, pass_on)):
        assert torch.equal(received, sent * max(1, rank))
        assert returned is None or torch.equal(returned, sent * (rank + 1))


def test_groups_recover_in_all_slots_at_once(run_pipeline):
    """The reason is that of the lowest rank that has one; groups recover any number of times."""

    def fail(pipeline):
        reasons = []
        for attempt in range(4):
            blamed = attempt % pipeline.size
            error = (
                DivergedError(f"{pipeline.name} {attempt}") if pipeline.rank == blamed else PeerError("it was not me")
            )
            reasons.append(str(pipeline.recover(error)))
            assert pipeline.all_gather(pipeline.rank) == list(range(pipeline.size))
        return pipeline.name, reasons

    for name, reasons in run_pipeline(3, fail, slots=2):
        assert reasons == [f"{name} {attempt}" for attempt in range(4)]

"""What `nmlab new` fits into a machine: replicas and micro-batches into memory, steps and samples into the time."""

from dataclasses import replace

import pytest

from nmlab.platform.new_study.draft import Draft
from nmlab.platform.new_study.fit import fit_memory, fit_time
from nmlab.platform.new_study.ranges import advice
from nmlab.platform.new_study.request import NewStudyRequest
from nmlab.platform.new_study.sizes import fitting_sizes
from nmlab.platform.new_study.texts import three_texts
from nmlab.platform.planning.admission import BESIDE_BYTES, WORKER_BYTES
from nmlab.platform.planning.machine import Machine
from nmlab.platform.planning.study_plan import plan_study
from nmlab.trials.contract.pattern import Pattern

CORPUS = "builtin:python-docs"
PROCESS = WORKER_BYTES + BESIDE_BYTES


@pytest.fixture(scope="module")
def draft():
    request = NewStudyRequest("mine", "builtin:tiny", (CORPUS,))
    texts = three_texts([CORPUS])
    tokens = dict.fromkeys(("calibration", "validation", "evaluation"), 40_000)
    return Draft(
        request=request,
        texts=texts,
        sizes=fitting_sizes(tokens, context=64, sources=dict.fromkeys(tokens, CORPUS)),
        advice=advice("maskpro", weights=26_624, pattern=Pattern(2, 4), start="wanda"),
        baselines=("dense", "magnitude"),
        dtype=("float32", "exact"),
        steps=100,
    )


@pytest.fixture(scope="module")
def facts(draft):
    return plan_study(draft.study()).facts


def on(monkeypatch, *, free=10**12, device="cpu", devices=1, cores=8, speed=1e11):
    machine = Machine(device=device, device_count=devices, cores=cores, free_bytes=free, flops_per_second=speed,
                      copied_bytes_per_second=1e10, host_free_bytes=10**12 if device == "cuda" else None)  # fmt: skip
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls, **given: machine))


def test_a_machine_with_room_gets_a_replica_for_each_core_up_to_four(draft, facts, monkeypatch):
    for cores, count in ((1, 1), (2, 2), (8, 4)):
        on(monkeypatch, cores=cores)
        fitted = fit_memory(draft, facts).draft
        assert (fitted.replicas[:2], fitted.micro_batch) == ((count, 1), None)


def test_a_gpu_gets_slots_that_share_its_weights(draft, facts, monkeypatch):
    on(monkeypatch, device="cuda", devices=2)
    assert fit_memory(draft, facts).draft.replicas[:2] == (2, 4)


@pytest.mark.slow
def test_with_less_room_there_are_fewer_replicas_then_fewer_sequences_at_once(draft, facts, monkeypatch):
    on(monkeypatch)
    load = fit_memory(draft, facts).estimate.load
    on(monkeypatch, free=load.weights + 2 * (PROCESS + load.shared + load.slot))
    fewer = fit_memory(draft, facts).draft
    assert (fewer.replicas[0], fewer.micro_batch) == (2, None)
    on(monkeypatch, free=PROCESS + load.weights + load.shared + load.slot - 1)
    smaller = fit_memory(draft, facts).draft
    assert smaller.replicas[0] == 1
    assert 1 <= smaller.micro_batch < draft.sizes.batch
    assert f"micro_batch: {smaller.micro_batch}" in smaller.text()


@pytest.mark.slow
def test_what_does_not_fit_at_all_is_refused_with_the_numbers(draft, facts, monkeypatch):
    on(monkeypatch, free=PROCESS + 1)
    with pytest.raises(ValueError, match=r"slots = 1: weights .* but this machine has 1 B free"):
        fit_memory(draft, facts)


def budgeted(draft, budget):
    return replace(draft, request=replace(draft.request, budget=budget))


def test_time_is_spent_on_configurations_first_and_then_on_steps(draft, facts, monkeypatch):
    on(monkeypatch, cores=1, speed=1e9)
    found = {
        budget: fit_time(fit_memory(budgeted(draft, budget), facts)) for budget in ("40m", "2h", "3h", "9h", "90h")
    }
    sizes = [(each.configurations, each.steps) for each in found.values()]
    assert sizes == sorted(sizes)
    assert sizes[0][0] == 8
    assert sizes[0][1] < draft.advice.steps
    assert sizes[-1] == (24, draft.advice.steps)
    assert all(100 <= each.steps <= draft.advice.steps for each in found.values())


def test_a_budget_for_less_than_a_small_search_is_refused_with_what_that_takes(draft, facts, monkeypatch):
    on(monkeypatch, cores=1, speed=1e9)
    with pytest.raises(ValueError, match=r"^budget 1m: 8 configurations of 100 steps, .* take about \d+m here; exp"):
        fit_time(fit_memory(budgeted(draft, "1m"), facts))

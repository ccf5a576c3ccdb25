"""Several slots on a model in pipeline stages are refused where workers have GPUs: before the start and in a worker."""

import dataclasses

import pytest
from packaged import AT_EVERY_PRESET

from nmlab.platform.cluster.nodes import check_room
from nmlab.platform.planning.admission import Load, check_study_fits, why_worker_does_not_fit
from nmlab.platform.planning.machine import Machine
from nmlab.platform.planning.study_plan import check_settings
from nmlab.search_spaces import loader

MESSAGE = (
    "replica.slots = 2 with replica.pipeline_stages = 4: on GPUs, trials that run at once on one model in pipeline "
    "stages deadlock; use slots: 1 (or pipeline_stages: 1, and more replicas)"
)
SMALL = Load(weights=8, block_weights=8, blocks=8, shared=1, slot=1)


def machine(device):
    return Machine(
        device=device,
        device_count=8,
        cores=8,
        free_bytes=10**12,
        flops_per_second=1e12,
        copied_bytes_per_second=1e12,
    )


def study(plan_of, replica):
    return plan_of(f"replica={replica}").study


@pytest.mark.parametrize(
    ("device", "replica"),
    [
        ("cuda", "{slots: 2, pipeline_stages: 4}"),
        ("cuda", "{slots: 2, pipeline_stages: 4, resources: {gpus: 1}}"),
        ("cpu", "{slots: 2, pipeline_stages: 4, resources: {gpus: 1}}"),  # they will be on GPUs of a cluster
        ("cpu", "{slots: 2, pipeline_stages: 4, resources: {gpus: 0.25}}"),
    ],
)
def test_a_plan_refuses_it_where_workers_have_gpus(plan_of, device, replica):
    with pytest.raises(ValueError) as refused:
        check_study_fits(study(plan_of, replica), SMALL, machine=machine(device))
    assert str(refused.value) == MESSAGE


@pytest.mark.parametrize(
    ("device", "replica"),
    [
        ("cpu", "{slots: 2, pipeline_stages: 4}"),
        ("cuda", "{slots: 1, pipeline_stages: 4}"),
        ("cuda", "{slots: 4, pipeline_stages: 1}"),
        ("cuda", "{slots: 2, pipeline_stages: 4, resources: {gpus: 0}}"),
    ],
)
def test_all_else_is_admitted(plan_of, device, replica):
    check_study_fits(study(plan_of, replica), SMALL, machine=machine(device))


def test_a_submitted_study_that_asks_for_gpus_is_refused_before_it_is_sent(plan_of):
    with pytest.raises(ValueError, match=r"slots = 2 with replica\.pipeline_stages = 4"):
        check_settings(study(plan_of, "{slots: 2, pipeline_stages: 4, resources: {gpus: 1}}"))


@pytest.mark.parametrize(("gpus", "is_refused"), [(8.0, True), (0.0, False)])
def test_a_cluster_with_gpus_refuses_it_when_it_is_joined(plan_of, monkeypatch, gpus, is_refused):
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 4.0, "GPU": gpus})
    monkeypatch.setattr("nmlab.platform.cluster.nodes._ask_all", lambda *_: {"10.0.0.1": 10**12})
    given = study(plan_of, "{slots: 2, pipeline_stages: 4}")
    if is_refused:
        with pytest.raises(ValueError, match="pipeline stages deadlock"):
            check_room(given, SMALL)
    else:
        check_room(given, SMALL)


def test_a_worker_refuses_it_itself_whatever_the_driver_knew():
    assert why_worker_does_not_fit(SMALL, slots=2, stages=4, device="cuda", room=10**12) == MESSAGE
    assert why_worker_does_not_fit(SMALL, slots=1, stages=4, device="cuda", room=10**12) == ""
    assert why_worker_does_not_fit(SMALL, slots=2, stages=1, device="cuda", room=10**12) == ""
    assert why_worker_does_not_fit(dataclasses.replace(SMALL), slots=2, stages=4, device="cpu", room=10**12) == ""


@pytest.mark.parametrize(("name", "preset"), AT_EVERY_PRESET)
def test_no_preset_ships_it(name, preset):
    replica = loader.load(name, preset=preset).replica
    on_gpus = (replica.resources.gpus or 0) > 0
    assert not (on_gpus and replica.slots > 1 and replica.pipeline_stages > 1)

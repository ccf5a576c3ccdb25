"""Calls to an actor that does not answer: what a person is told."""

import pytest

from nmlab.platform.dispatch import actor_calls
from nmlab.platform.dispatch.actor_calls import ActorCalls, DispatcherLostError
from nmlab.platform.dispatch.client import DispatchClient
from nmlab.platform.mask_parallel.coordinator_client import CoordinatorClient, CoordinatorSettings


def unknown(name, *, namespace):
    raise ValueError(f"no actor {name} in {namespace}")


@pytest.fixture(autouse=True)
def no_actor(monkeypatch):
    monkeypatch.setattr(actor_calls.ray, "get_actor", unknown)


@pytest.mark.parametrize("role", ["dispatcher", "coordinator"])
def test_the_message_says_what_did_not_answer(role):
    calls = ActorCalls("nmlab-x", namespace="n", patience=0.0, role=role)
    with pytest.raises(DispatcherLostError, match=f"the {role} nmlab-x has not answered for 0 s"):
        calls.ask(lambda actor: actor)


def test_each_client_names_its_own_actor():
    coordinator = CoordinatorClient(CoordinatorSettings("c", "n", 2))
    coordinator._calls._patience = 0.0
    with pytest.raises(DispatcherLostError, match="the coordinator c has"):
        coordinator.offer(within=0.0)
    with pytest.raises(DispatcherLostError, match="the dispatcher d has"):
        DispatchClient("d", namespace="n", patience=0.0).stop()

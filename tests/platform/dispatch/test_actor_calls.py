"""Calls to an actor that does not answer: what a person is told."""

import pytest

from nmlab.platform.dispatch import actor_calls
from nmlab.platform.dispatch.actor_calls import ActorCalls
from nmlab.platform.dispatch.client import DispatchClient, DispatcherLostError
from nmlab.platform.mask_parallel.coordinator_client import (
    CoordinatorClient,
    CoordinatorLostError,
    CoordinatorSettings,
)


def unknown(name, *, namespace):
    raise ValueError(f"no actor {name} in {namespace}")


@pytest.fixture(autouse=True)
def no_actor(monkeypatch):
    monkeypatch.setattr(actor_calls.ray, "get_actor", unknown)


@pytest.mark.parametrize("lost", [DispatcherLostError, CoordinatorLostError])
def test_the_error_and_its_message_say_what_did_not_answer(lost):
    calls = ActorCalls("nmlab-x", namespace="n", lost=lost, patience=0.0)
    with pytest.raises(lost, match=f"the {lost.role} nmlab-x has not answered for 0 s"):
        calls.ask(lambda actor: actor)


def test_each_client_names_its_own_actor():
    coordinator = CoordinatorClient(CoordinatorSettings("c", "n", 2))
    coordinator._calls._patience = 0.0
    with pytest.raises(CoordinatorLostError, match="the coordinator c has"):
        coordinator.offer(within=0.0)
    with pytest.raises(DispatcherLostError, match="the dispatcher d has"):
        DispatchClient("d", namespace="n", patience=0.0).stop()

"""Actors that do not answer: which are started again, and what a person is told."""

import pytest
from ray.exceptions import RayActorError

from nmlab.platform.dispatch import actor_calls, dispatcher
from nmlab.platform.dispatch.actor_calls import ActorCalls
from nmlab.platform.dispatch.client import DispatchClient, DispatcherLostError
from nmlab.platform.mask_parallel import coordinator
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


class Mortal:
    """Stands for Ray's start of an actor, which dies before it answers as often as ``deaths`` says."""

    def __init__(self, deaths):
        self.names, self._deaths = [], deaths

    def start_actor(self, actor, *, name, namespace):
        self.names.append(name)
        return lambda **settings: self

    def ask(self, call):
        if len(self.names) <= self._deaths:
            raise RayActorError


def start_dispatcher():
    return dispatcher.start_dispatcher("l", max_failures=3).name


def start_coordinator():
    return coordinator.start_coordinator("l", size=2).settings.name


STARTS = [(dispatcher, start_dispatcher), (coordinator, start_coordinator)]


@pytest.mark.parametrize(("module", "start"), STARTS)
@pytest.mark.parametrize("deaths", [0, 2])
def test_an_actor_that_dies_before_it_answers_is_started_again_with_a_warning(
    monkeypatch, caplog, module, start, deaths
):
    mortal = Mortal(deaths)
    monkeypatch.setattr(module, "start_actor", mortal.start_actor)
    assert start() == mortal.names[-1]
    assert len(set(mortal.names)) == deaths + 1
    warned = [f"{name} died before it answered and is started again: " for name in mortal.names[:-1]]
    assert [message.startswith(line) for message, line in zip(caplog.messages, warned, strict=True)] == [True] * deaths


@pytest.mark.parametrize(("module", "start"), STARTS)
def test_an_actor_that_never_answers_ends_the_launch(monkeypatch, module, start):
    mortal = Mortal(9)
    monkeypatch.setattr(module, "start_actor", mortal.start_actor)
    with pytest.raises(RayActorError):
        start()
    assert len(mortal.names) == 3

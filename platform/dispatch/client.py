"""The dispatcher as other processes see it: one method for each of its calls."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from nmlab.platform.dispatch.actor_calls import ActorCalls, ActorLostError, RunningActor
from nmlab.platform.dispatch.messages import (
    Claim,
    Drained,
    Lease,
    Message,
    NoMoreTrials,
    ReceiveAnswer,
    RefusedEnd,
    ReplicaProcess,
    TrialUpdate,
)
from nmlab.platform.records.payloads import Proof, ReplicaFacts, ResultRecord, SpecRecord

if TYPE_CHECKING:  # the dispatcher's module imports this one
    from nmlab.platform.dispatch.dispatcher import Dispatcher


class DispatcherLostError(ActorLostError):
    """The dispatcher has not answered within the patience of its client."""

    role = "dispatcher"


class DispatchClient:
    """Calls the dispatcher named ``name``, for a driver, a replica or a trial actor.

    A call may be carried out twice if the dispatcher dies meanwhile, which every method of `DispatchState` allows for;
    what the methods do is said there. Raises ``DispatcherLostError`` after ``patience`` seconds without an answer.
    """

    def __init__(
        self, name: str, *, namespace: str, actor: "RunningActor[Dispatcher] | None" = None, patience: float = 60.0
    ) -> None:
        self.name = name
        self._calls: ActorCalls[Dispatcher] = ActorCalls(
            name, namespace=namespace, lost=DispatcherLostError, actor=actor, patience=patience
        )

    # --- the driver -----------------------------------------------------------------------------------------------

    def open(
        self,
        ended: Mapping[str, ResultRecord],
        *,
        replicas: Mapping[str, int],
        cancelled: Iterable[str],
        leased: Mapping[str, int],
    ) -> None:
        """Tell a restarted dispatcher what the driver knows."""
        keys = list(cancelled)
        self._calls.ask(lambda dispatcher: dispatcher.open(ended, replicas=replicas, cancelled=keys, leased=leased))

    def drain(self, generation: int, *, acknowledged: int, refused: Sequence[RefusedEnd], within: float) -> Drained:
        """Acknowledge records, and wait for others."""
        return self._calls.ask(
            lambda dispatcher: dispatcher.drain(generation, acknowledged=acknowledged, refused=refused, within=within),
            within=within,
        )

    def cancel(self, key: str, *, generation: int) -> None:
        """Cancel a trial of the dispatcher of this generation."""
        self._calls.ask(lambda dispatcher: dispatcher.cancel(key, generation=generation))

    def stop(self) -> None:
        """Make the replicas stop their trials and end."""
        self._calls.ask(lambda dispatcher: dispatcher.stop())

    # --- replicas -------------------------------------------------------------------------------------------------

    def refuse(self, replica: str, *, reason: str) -> None:
        """Report that a replica does not load its model, and why."""
        self._calls.ask(lambda dispatcher: dispatcher.refuse(replica, reason=reason))

    def admit(self, replica: str, *, proofs: Sequence[Proof]) -> str:
        """Show the proofs of a replica's workers; return why it is refused, or ""."""
        return self._calls.ask(lambda dispatcher: dispatcher.admit(replica, proofs=proofs))

    def introduce(
        self, process: ReplicaProcess, *, facts: ReplicaFacts, claims: Sequence[Claim], own_actor: Any
    ) -> int:
        """Introduce a replica, whose actor has the handle ``own_actor``; return the generation of the dispatcher."""
        in_list = [own_actor]  # in a list Ray passes the handle on as it is
        return self._calls.ask(
            lambda dispatcher: dispatcher.introduce(process, facts=facts, claims=claims, own_actor=in_list)
        )

    def receive(
        self,
        process: ReplicaProcess,
        *,
        generation: int,
        running: Sequence[tuple[str, int]],
        messages: Sequence[Message],
    ) -> ReceiveAnswer:
        """Send messages, which is a heartbeat too."""
        return self._calls.ask(
            lambda dispatcher: dispatcher.receive(process, generation=generation, running=running, messages=messages)
        )

    def take(
        self, process: ReplicaProcess, *, slot: int, last_epoch: int, within: float
    ) -> Lease | NoMoreTrials | None:
        """Wait for a trial for a slot; None if there is none yet."""
        return self._calls.ask(
            lambda dispatcher: dispatcher.take(process, slot=slot, last_epoch=last_epoch, within=within),
            within=within,
        )

    def leave(self, process: ReplicaProcess) -> None:
        """Remove a replica that ends as it should."""
        self._calls.ask(lambda dispatcher: dispatcher.leave(process))

    # --- trial actors ---------------------------------------------------------------------------------------------

    def submit(self, key: str, *, spec: SpecRecord, times_leased: int = 0) -> None:
        """Queue a trial."""
        self._calls.ask(lambda dispatcher: dispatcher.submit(key, spec=spec, times_leased=times_leased))

    def pull(self, key: str, *, after: int, within: float) -> TrialUpdate | None:
        """Wait for evaluations after a step, or for the end of a trial; None if the dispatcher does not know it."""
        return self._calls.ask(lambda dispatcher: dispatcher.pull(key, after=after, within=within), within=within)

"""The dispatcher as other processes see it: one method for each of its calls."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nmlab.platform.dispatch.actor_calls import ActorCalls
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


class DispatchClient:
    """Calls the dispatcher named ``name``, for a driver, a replica or a trial actor.

    A call may be carried out twice if the dispatcher dies meanwhile, which every method of `DispatchState` allows for;
    what the methods do is said there. Raises ``DispatcherLostError`` after ``patience`` seconds without an answer.
    """

    def __init__(self, name: str, *, namespace: str, actor: Any = None, patience: float = 60.0) -> None:
        self.name = name
        self._calls = ActorCalls(name, namespace=namespace, actor=actor, patience=patience)

    # --- the driver -----------------------------------------------------------------------------------------------

    def open(
        self, ended: Mapping[str, Mapping[str, Any]], *, replicas: Mapping[str, int], cancelled: Iterable[str]
    ) -> None:
        """Tell a restarted dispatcher what the driver knows."""
        cancelled = list(cancelled)
        self._calls.ask(lambda actor: actor.open.remote(ended, replicas=replicas, cancelled=cancelled))

    def drain(self, generation: int, *, acknowledged: int, refused: Sequence[RefusedEnd], within: float) -> Drained:
        """Acknowledge records, and wait for others."""
        sent = {"acknowledged": acknowledged, "refused": refused, "within": within}
        drained: Drained = self._calls.ask(lambda actor: actor.drain.remote(generation, **sent), within=within)
        return drained

    def cancel(self, key: str, *, generation: int) -> None:
        """Stop a trial of the dispatcher of this generation."""
        self._calls.ask(lambda actor: actor.cancel.remote(key, generation=generation))

    def stop(self) -> None:
        """Make the replicas stop their trials and end."""
        self._calls.ask(lambda actor: actor.stop.remote())

    # --- replicas -------------------------------------------------------------------------------------------------

    def refuse(self, replica: str, *, reason: str) -> None:
        """Say that a replica does not load its model, and why."""
        self._calls.ask(lambda actor: actor.refuse.remote(replica, reason=reason))

    def admit(self, replica: str, *, proofs: Sequence[Mapping[str, Any]]) -> str:
        """Show the proofs of a replica's workers; return why it is refused, or ""."""
        reason: str = self._calls.ask(lambda actor: actor.admit.remote(replica, proofs=proofs))
        return reason

    def introduce(self, process: ReplicaProcess, *, facts: Mapping[str, Any], claims: Sequence[Claim], own_actor: Any) -> int:
        """Introduce a replica, whose actor is ``own_actor``; return the generation of the dispatcher."""
        # In a list Ray passes the handle on as it is.
        sent = {"facts": facts, "claims": claims, "own_actor": [own_actor]}
        generation: int = self._calls.ask(lambda actor: actor.introduce.remote(process, **sent))
        return generation

    def receive(
        self,
        process: ReplicaProcess,
        *,
        generation: int,
        running: Sequence[tuple[str, int]],
        messages: Sequence[Message],
    ) -> ReceiveAnswer:
        """Send messages, which is a heartbeat too."""
        sent = {"generation": generation, "running": running, "messages": messages}
        answer: ReceiveAnswer = self._calls.ask(lambda actor: actor.receive.remote(process, **sent))
        return answer

    def take(self, process: ReplicaProcess, *, slot: int, last_epoch: int, within: float) -> Lease | NoMoreTrials | None:
        """Wait for a trial for a slot; None if there is none yet."""
        sent = {"slot": slot, "last_epoch": last_epoch, "within": within}
        answer: Lease | NoMoreTrials | None = self._calls.ask(
            lambda actor: actor.take.remote(process, **sent), within=within
        )
        return answer

    def leave(self, process: ReplicaProcess) -> None:
        """Remove a replica that ends as it should."""
        self._calls.ask(lambda actor: actor.leave.remote(process))

    # --- trial actors ---------------------------------------------------------------------------------------------

    def submit(self, key: str, *, spec: Mapping[str, Any], attempts: int = 0) -> None:
        """Queue a trial."""
        self._calls.ask(lambda actor: actor.submit.remote(key, spec=spec, attempts=attempts))

    def pull(self, key: str, *, after: int, within: float) -> TrialUpdate | None:
        """Wait for evaluations after a step, or for the end of a trial; None if the dispatcher does not know it."""
        update: TrialUpdate | None = self._calls.ask(
            lambda actor: actor.pull.remote(key, after=after, within=within), within=within
        )
        return update

    def snapshot(self) -> dict[str, Any]:
        """Return the replicas with the keys of the trials they run, and how many trials have not ended."""
        shown: dict[str, Any] = self._calls.ask(lambda actor: actor.snapshot.remote())
        return shown

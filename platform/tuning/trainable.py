"""The trial actor, which Tune starts for a trial: it submits the trial, waits, and reports its evaluations and result.

It is light and reused; it holds no model and imports no torch. The trial runs in a slot of a replica. The end of an
actor stops no trial, since Tune may replace an actor while its trial goes on. Only the driver stops trials.
"""

from collections.abc import Mapping
from typing import Any

from ray import tune

from nmlab.platform.dispatch.client import DispatchClient
from nmlab.platform.records.events import TrialMetrics

_PULL_SECONDS = 1.0
"""How long one call to the dispatcher waits: Tune can stop an actor only between two of them."""


class TrialActor(tune.Trainable):
    """Tune's trainable; ``config`` holds key and specification of the trial, dispatcher, namespace and objectives."""

    _attempts: int
    _last_step: int  # of the last evaluation that it received
    _points: list[TrialMetrics]
    _ended: Mapping[str, Any] | None

    def setup(self, config: dict[str, Any]) -> None:
        self._dispatcher = DispatchClient(config["dispatcher"], namespace=config["namespace"])
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Return at the next evaluation, or at the end."""
        while True:
            if not self._points and self._ended is None:
                self._receive()
            if self._points:
                point = self._points.pop(0)
                self._last |= {name: value for name, value in point.values.items() if "/" in name}
                if self._points or self._ended is None or point.step < self._ended["step"]:
                    return {**self._last, "step": point.step, "done": False}
            if self._ended is not None and not self._points:
                return self._final(self._ended)

    def _receive(self) -> None:
        """Wait for evaluations or the result; submit the trial again to a dispatcher that does not know it."""
        update = self._dispatcher.pull(self._key, after=self._last_step, within=_PULL_SECONDS)
        if update is None:
            self._dispatcher.submit(self._key, spec=self._spec, attempts=self._attempts)
            return
        self._points += update.points
        self._last_step = max([self._last_step, *(point.step for point in update.points)])
        self._attempts, self._ended = update.attempts, update.ended

    def _begin(self, config: dict[str, Any]) -> None:
        self._key: str = config["key"]
        self._spec: dict[str, Any] = config["spec"]
        self._attempts, self._last_step, self._points, self._ended = 0, -1, [], None
        # Tune asks for every objective in every result; nothing is known before the first evaluation.
        self._last: dict[str, Any] = dict.fromkeys(config["objectives"], float("nan"))
        self._dispatcher.submit(self._key, spec=self._spec)

    def _final(self, ended: Mapping[str, Any]) -> dict[str, Any]:
        status = {"status": ended["status"], "reason": ended["reason"], "key": self._key}
        return {**self._last, **ended["metrics"], **status, "step": ended["step"], "done": True}

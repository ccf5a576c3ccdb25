"""The trial actor, which Tune starts for a trial: it submits the trial, waits, and reports its evaluations and result.

It is light and reused; it holds no model and imports no torch. The trial runs in a slot of a replica. The end of an
actor stops no trial, since Tune may replace an actor while its trial goes on. Only the driver stops trials.
"""

from collections.abc import Sequence
from typing import Any, TypedDict, cast

from ray import tune

from nmlab.platform.dispatch.client import DispatchClient
from nmlab.platform.records.events import TrialMetrics
from nmlab.platform.records.payloads import ResultRecord, SpecRecord


class TrialConfig(TypedDict):
    """What a trial actor is given; Tune calls it the configuration of its trial."""

    dispatcher: str
    """The dispatcher's name."""
    namespace: str
    """The namespace of the dispatcher."""
    key: str
    spec: SpecRecord
    objectives: Sequence[str]
    """The metrics of the search."""


_PULL_SECONDS = 1.0
"""How long one call to the dispatcher waits: Tune can stop an actor only between two of them."""


class TrialActor(tune.Trainable):
    """Tune's trainable for one trial after another, each given by a `TrialConfig`."""

    _times_leased: int
    _last_step: int  # of the last evaluation that it received
    _points: list[TrialMetrics]
    _ended: ResultRecord | None

    def setup(self, config: dict[str, Any]) -> None:
        given = cast(TrialConfig, config)
        self._dispatcher = DispatchClient(given["dispatcher"], namespace=given["namespace"])
        self._begin(given)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._begin(cast(TrialConfig, new_config))
        return True

    def step(self) -> dict[str, object]:
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
            self._dispatcher.submit(self._key, spec=self._spec, times_leased=self._times_leased)
            return
        self._points += update.points
        self._last_step = max([self._last_step, *(point.step for point in update.points)])
        self._times_leased, self._ended = update.times_leased, update.ended

    def _begin(self, config: TrialConfig) -> None:
        self._key = config["key"]
        self._spec = config["spec"]
        self._times_leased, self._last_step, self._points, self._ended = 0, -1, [], None
        # Tune asks for every objective in every result; nothing is known before the first evaluation.
        self._last: dict[str, object] = dict.fromkeys(config["objectives"], float("nan"))
        self._dispatcher.submit(self._key, spec=self._spec)

    def _final(self, ended: ResultRecord) -> dict[str, object]:
        status = {"status": ended["status"], "reason": ended["reason"], "key": self._key}
        return {**self._last, **ended["metrics"], **status, "step": ended["step"], "done": True}

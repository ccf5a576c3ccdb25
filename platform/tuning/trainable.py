"""The Tune side of a trial: a light, reused actor that submits a job, waits, and repeats what it hears to Tune.

It holds no model and imports no torch; the work is done in a replica's slot. That it ends stops no trial: Tune also
starts actors that it gives up for another one, which runs the same trial by then. What is to stop, the driver says.
"""

from typing import Any

from ray import tune

from nmlab.platform.dispatch.client import DispatchClient

_WAIT_S = 1.0  # Tune can stop an actor only between two waits


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """``config`` holds the trial's key and specification, the names of hub, namespace and objectives."""

    _attempts: int
    _heard: int  # the last step of which it told Tune
    _points: list[dict[str, Any]]
    _ended: dict[str, Any] | None

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
                self._listen()
            if self._points:
                point = self._points.pop(0)
                self._last |= {name: value for name, value in point["values"].items() if "/" in name}
                if self._points or self._ended is None or point["step"] < self._ended["step"]:
                    return {**self._last, "step": point["step"], "done": False}
            if self._ended is not None and not self._points:
                return self._final(self._ended)

    def _listen(self) -> None:
        """Wait for news; a hub that was restarted and knows nothing of the trial is told of it again."""
        news = self._dispatcher.ask("pull", self._key, self._heard, within=_WAIT_S)
        if news is None:
            self._dispatcher.call("submit", self._key, self._spec, self._attempts)
            return
        self._points += news["points"]
        self._heard = max([self._heard, *(point["step"] for point in news["points"])])
        self._attempts, self._ended = news["attempts"], news["ended"]

    def _begin(self, config: dict[str, Any]) -> None:
        self._key: str = config["key"]
        self._spec: dict[str, Any] = config["spec"]
        self._attempts, self._heard, self._points, self._ended = 0, -1, [], None
        # Tune asks for every objective in every result; nothing is known before the first evaluation.
        self._last: dict[str, Any] = dict.fromkeys(config["objectives"], float("nan"))
        self._dispatcher.call("submit", self._key, self._spec)

    def _final(self, ended: dict[str, Any]) -> dict[str, Any]:
        status = {"status": ended["status"], "reason": ended["reason"], "key": self._key}
        return {**self._last, **ended["metrics"], **status, "step": ended["step"], "done": True}

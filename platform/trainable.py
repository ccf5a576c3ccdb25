"""The Tune side of a trial: a light, reused actor that submits a job, waits, and repeats what it hears to Tune.

It holds no model and imports no torch; the work is done in a replica's slot.
"""

from typing import Any

import ray
from ray import tune

from nmlab.platform.hub import HUB

_WAIT_S = 5.0


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """``config`` holds the trial's key and specification, the names of hub namespace and objectives."""

    def setup(self, config: dict[str, Any]) -> None:
        self._hub = ray.get_actor(HUB, namespace=config["namespace"])
        self._ended: dict[str, Any] | None = None
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._cancel()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Return at the next evaluation, or at the end."""
        while True:
            news = ray.get(self._hub.pull.remote(self._key, _WAIT_S))
            self._points += news["points"]
            self._ended = self._ended or news["ended"]
            if self._points:
                point = self._points.pop(0)
                self._last |= {name: value for name, value in point["values"].items() if "/" in name}
                if self._points or self._ended is None or point["step"] < self._ended["step"]:
                    return {**self._last, "step": point["step"], "done": False}
            if self._ended is not None and not self._points:
                return self._final(self._ended)

    def cleanup(self) -> None:
        self._cancel()

    def _begin(self, config: dict[str, Any]) -> None:
        self._key: str = config["key"]
        self._points: list[dict[str, Any]] = []
        self._ended = None
        # Tune asks for every objective in every result; nothing is known before the first evaluation.
        self._last: dict[str, Any] = dict.fromkeys(config["objectives"], float("nan"))
        ray.get(self._hub.call.remote("submit", self._key, config["spec"]))

    def _final(self, ended: dict[str, Any]) -> dict[str, Any]:
        status = {"status": ended["status"], "reason": ended["reason"], "key": self._key}
        return {**self._last, **ended["metrics"], **status, "step": ended["step"], "done": True}

    def _cancel(self) -> None:
        if self._ended is None:
            ray.get(self._hub.call.remote("cancel", self._key))

"""The recorded values of a trial: every step in full, and the points of its curves."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nmlab.trials.contract.metrics import EVAL, initial_name
from nmlab.trials.contract.run_artifacts import step_array

CURVE_POINTS = 200

NotedValues = dict[str, float]
"""Values by metric name that exist at one step only."""


class History:
    """Every recorded quantity, one value a step; a point of a curve is the mean since the previous point.

    Points depend on the recorded steps alone, so a resumed trial gives the same points as one without interruption.
    """

    def __init__(self, *, steps: int, log_every: int | None) -> None:
        self.log_every = log_every or max(1, steps // CURVE_POINTS)
        self._last_step = steps
        self._columns: dict[str, list[float]] = {}
        self._rare: dict[int, dict[str, float]] = {}

    @property
    def length(self) -> int:
        """The number of recorded steps."""
        return len(next(iter(self._columns.values()), []))

    def append(self, values: Mapping[str, float]) -> None:
        """Record one step."""
        for name, value in values.items():
            self._columns.setdefault(name, []).append(value)

    def note(self, step: int, values: Mapping[str, float]) -> None:
        """Record values that exist at some steps only, such as an evaluation."""
        self._rare.setdefault(step, {}).update(values)

    def is_point(self, step: int) -> bool:
        """Return whether the curves have a point after ``step`` steps."""
        return step % self.log_every == 0 or step == self._last_step

    def point(self, step: int) -> dict[str, float]:
        """Return the values of the curves after ``step`` steps, with the values noted at this step."""
        rare = self._rare.get(step, {})
        if step == 0 or not self.is_point(step):
            return dict(rare)
        start = (step - 1) // self.log_every * self.log_every
        means = {name: float(np.mean(column[start:step])) for name, column in self._columns.items()}
        return {**means, **rare}

    def points(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Yield every point so far, in order of steps."""
        for step in range(self.length + 1):
            if values := self.point(step):
                yield step, values

    def save(self, path: Path) -> None:
        """Write every step's values as a compressed numpy archive."""
        arrays = {step_array(name): np.array(column) for name, column in self._columns.items()}
        np.savez_compressed(path, **arrays)  # type: ignore[arg-type]

    def tensors(self) -> dict[str, Tensor]:
        """Return the recorded steps as tensors for a checkpoint."""
        return {f"history/{name}": torch.tensor(column, dtype=torch.float64) for name, column in self._columns.items()}

    def values(self) -> dict[str, NotedValues]:
        """Return the noted values as plain JSON for a checkpoint."""
        return {str(step): values for step, values in self._rare.items()}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Mapping[str, float]]) -> None:
        """Continue from what ``tensors`` and ``values`` returned."""
        prefix = "history/"
        self._columns = {k.removeprefix(prefix): t.tolist() for k, t in tensors.items() if k.startswith(prefix)}
        self._rare = {int(step): dict(noted) for step, noted in values.items()}


def with_start_named(values: Mapping[str, NotedValues]) -> dict[str, NotedValues]:
    """Return the noted values of a checkpoint with the evaluation of the initial mask under ``initial/*``.

    Earlier versions recorded it under ``eval/*``. Only runs with steps have checkpoints, so an evaluation at step 0 is
    that of the initial mask.
    """
    noted = values.get("0", {})
    start = {initial_name(name) if name.startswith(EVAL) else name: value for name, value in noted.items()}
    return {**values, "0": start} if start else dict(values)

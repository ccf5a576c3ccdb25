"""The value that one run reached within a budget.

A run is charged for its initial mask first, and then equally for every step. That is exact for forwards and tokens, and
for seconds as far as all steps take equally long.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.read.frame import records_of, seed_of

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Trajectory:
    """The evaluations of one finished run, by step, with what the whole run and its initial mask cost.

    ``steps`` and ``values`` are in order of steps; ``spent`` and ``start`` hold each kind of cost by name, such as
    ``tokens``.
    """

    run_id: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    spent: Mapping[str, float]
    start: Mapping[str, float]
    is_trained: bool
    seed: int = 0

    def cost_at(self, step: int, *, kind: str) -> float:
        """Return the cost spent up to and including this step."""
        last = self.steps[-1]
        share = step / last if last else 1.0
        return self.start[kind] + (self.spent[kind] - self.start[kind]) * share

    def reached(self, budget: float, *, kind: str) -> tuple[int, float] | None:
        """Return step and value of the last evaluation within a budget.

        For a trained run the evaluation of its initial mask does not count: the value of what was trained since is
        unknown.
        """
        within = [
            (step, value)
            for step, value in zip(self.steps, self.values, strict=True)
            if self.cost_at(step, kind=kind) <= budget * (1 + ROUNDING) and (step or not self.is_trained)
        ]
        return within[-1] if within else None


def trajectories_of(
    item: Configuration, *, points: Mapping[str, pd.DataFrame], kinds: Sequence[str]
) -> tuple[Trajectory, ...]:
    """Return the trajectories of all finished runs of a configuration; empty where one is unknown.

    Args:
        item: the configuration.
        points: ``step, value`` of the searched metric by run id.
        kinds: the kinds of cost, as in ``cost/<kind>``.
    """
    found = []
    costs = [name for kind in kinds for name in (f"cost/{kind}", f"cost/initial_{kind}") if name in item.finished]
    for record in records_of(item.finished, columns=["run_id", "seed", *costs]):
        history = points.get(str(record["run_id"]))
        spent = {kind: float(record.get(f"cost/{kind}", math.nan)) for kind in kinds}
        if history is None or any(map(math.isnan, spent.values())):
            return ()
        start = {kind: _or_zero(record.get(f"cost/initial_{kind}")) for kind in kinds}
        steps = tuple(int(step) for step in history["step"])
        values = tuple(float(value) for value in history["value"])
        run_id, seed = str(record["run_id"]), seed_of(record["seed"])
        found.append(Trajectory(run_id, steps, values, spent, start, item.is_learned, seed))
    return tuple(found)


def _or_zero(value: float | None) -> float:
    return 0.0 if value is None or math.isnan(value) else float(value)

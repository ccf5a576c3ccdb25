"""The value that one run reached within a budget.

A run is charged for its initial mask first, and then equally for every step. That is exact for forwards and tokens, and
for seconds as far as all steps take equally long.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.read.histories import Curves

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


def trajectories_of(item: Configuration, *, progress: Curves, kinds: Sequence[str]) -> tuple[Trajectory, ...]:
    """Return the trajectories of all finished runs of a configuration; empty where one is unknown.

    Args:
        item: the configuration.
        progress: the searched metric of each run by step.
        kinds: the kinds of cost, as in ``cost/<kind>``.
    """
    found = []
    for trial in item.finished:
        curve = progress.get(trial.run_id)
        spent = {kind: trial.metric(f"cost/{kind}") for kind in kinds}
        if curve is None or any(map(math.isnan, spent.values())):
            return ()
        start = {kind: trial.metrics.get(f"cost/initial_{kind}", 0.0) for kind in kinds}
        steps, values = tuple(curve.step_T.tolist()), tuple(curve.value_T.tolist())
        found.append(Trajectory(trial.run_id, steps, values, spent, start, item.is_learned, trial.paired_by))
    return tuple(found)

"""Pairs at an equal budget: what both sides had reached when they had spent as much as the cheaper one spent in all.

The values are those of the last evaluation within the budget, from the curves that runs recorded.
"""

from collections.abc import Sequence
from dataclasses import replace

from nmlab.reports.analysis.budgets.trajectory import Trajectory, trajectories_of
from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.two_sides.matching import MatchedPair, PairBudget
from nmlab.reports.read.histories import Curves

STEPS = "steps"
BUDGETS = ("tokens", "forwards", "backwards", "seconds", STEPS)


def at_equal_budget(pair: MatchedPair, *, kind: str, progress: tuple[Curves, Curves]) -> MatchedPair | str:
    """Return a pair with the values at its equal budget, or the reason why there are none.

    Args:
        pair: two configurations.
        kind: what is spent, one of ``BUDGETS``.
        progress: for each side the searched metric of each run by step.
    """
    paths = [_paths(item, curves, kind) for item, curves in zip(pair.sides, progress, strict=True)]
    for item, own in zip(pair.sides, paths, strict=True):
        if not own:
            return f"{item.method} ({item.key}) recorded no curve with its {kind}"
    size = min(max(path.spent[kind] for path in own) for own in paths)
    found = []
    for item, own in zip(pair.sides, paths, strict=True):
        reached = _reached(item, own, kind=kind, size=size)
        if reached is None:
            first = min(step for path in own for step in path.steps if step or not path.is_trained)
            return (
                f"{item.method} ({item.key}) was first evaluated at step {first:,}, after more than "
                f"{size:,.6g} {kind}; intervals.evaluate_every adds evaluations"
            )
        found.append(reached)
    (first_item, first_steps), (second_item, second_steps) = found
    return replace(
        pair, first=first_item, second=second_item, budget=PairBudget(kind, size, (first_steps, second_steps))
    )


def runs_at_their_end(pair: MatchedPair) -> tuple[str, ...]:
    """Return the runs whose values are those of their final masks, so that the losses they kept are of the same."""
    ends = [(1, 1), (1, 1)] if pair.budget is None else pair.budget.steps
    return tuple(
        trial.run_id
        for item, (step, last) in zip(pair.sides, ends, strict=True)
        for trial in item.finished
        if step == last
    )


def _paths(item: Configuration, progress: Curves, kind: str) -> tuple[Trajectory, ...]:
    """Return the curves of all runs; for a budget of steps, a step costs one and the start nothing."""
    if kind != STEPS:
        return trajectories_of(item, progress=progress, kinds=(kind,))
    found = trajectories_of(item, progress=progress, kinds=())
    return tuple(replace(path, spent={STEPS: float(path.steps[-1])}, start={STEPS: 0.0}) for path in found)


def _reached(
    item: Configuration, paths: Sequence[Trajectory], *, kind: str, size: float
) -> tuple[Configuration, tuple[int, int]] | None:
    """Return the configuration with its values within the budget, and the first step of these with the last of all."""
    ends = {path.run_id: path.reached(size, kind=kind) for path in paths}
    values = {run_id: end[1] for run_id, end in ends.items() if end is not None}
    if len(values) < len(paths):
        return None
    metric = item.objective.metric
    trials = tuple(
        replace(trial, metrics={**trial.metrics, metric: values[trial.run_id]}) if trial.run_id in values else trial
        for trial in item.trials
    )
    step = min(end[0] for end in ends.values() if end is not None)
    return replace(item, trials=trials), (step, max(path.steps[-1] for path in paths))

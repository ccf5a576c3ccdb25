"""The masks of one group at the same budget: tokens, forwards or seconds.

The budget is what the cheapest trained method spent on one run, so that every trained method could afford it. Each
method is represented by its best configuration within the budget.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from nmlab.reports.analysis.budgets.trajectory import Trajectory, trajectories_of
from nmlab.reports.analysis.configurations import Configuration, groups_of
from nmlab.reports.analysis.marks import group_marks
from nmlab.reports.analysis.metrics import is_compared_by_ratio
from nmlab.reports.analysis.pairwise import over_seeds
from nmlab.reports.read.histories import Curves
from nmlab.reports.statistics import LEVEL, MeanEstimate, adjusted, mean_interval
from nmlab.reports.values import Direction, Mark

BUDGET_KINDS = ("tokens", "forwards", "seconds")


@dataclass(frozen=True, slots=True)
class Reached:
    """The best value of one method within a budget, at ``step`` of ``steps``; ``value`` is None where unknown."""

    item: Configuration
    value: MeanEstimate | None
    by_seed: Mapping[int, float]
    step: int
    steps: int
    run_ids: tuple[str, ...]

    @property
    def has_training_noise(self) -> bool:
        """Whether the value varies between seeds, as far as is known; false where several seeds gave the same value."""
        return len(set(self.by_seed.values())) > 1 if len(self.by_seed) > 1 else self.item.depends_on_seed


@dataclass(frozen=True)
class EqualBudget:
    """The results of all methods of one group of comparable masks within ``budget`` of one kind, best first."""

    group: Hashable
    kind: str
    budget: float
    reached: tuple[Reached, ...]

    @cached_property
    def marks(self) -> tuple[Mark, ...]:
        """The mark of each result: tests are over seeds, adjusted over the results of this budget."""
        known = [entry for entry in self.reached if entry.value is not None]
        means = [entry.value.mean for entry in known if entry.value is not None]
        p_values = adjusted([None if entry is known[0] else _p_value(entry, known[0]) for entry in known])
        direction = Direction.LOWER if self.reached[0].item.objective.mode == "min" else Direction.HIGHER
        is_distinct = [None if p_value is None else p_value < LEVEL for p_value in p_values]
        own = group_marks(means, direction=direction, is_distinct=is_distinct)
        return (*own, *(Mark.NONE for _ in self.reached[len(known) :]))


def equal_budgets(configurations: Sequence[Configuration], *, progress: Curves) -> tuple[EqualBudget, ...]:
    """Return the comparison at equal budget of every group in which at least two methods were trained.

    A configuration that breaks a constraint of the search takes no part.

    Args:
        configurations: of one launch, best first.
        progress: the searched metric of each run by step.
    """
    found = []
    taking_part = (item for item in configurations if item.is_complete and not item.breaks_constraint)
    for group, members in groups_of(taking_part).items():
        paths = {item.key: trajectories_of(item, progress=progress, kinds=BUDGET_KINDS) for item in members}
        known = [item for item in members if paths[item.key]]
        trained = {item.method for item in known if item.is_learned}
        if len(trained) > 1:
            found += [_at_equal(known, group=group, kind=kind, paths=paths) for kind in BUDGET_KINDS]
    return tuple(found)


def _at_equal(
    items: Sequence[Configuration], *, group: Hashable, kind: str, paths: Mapping[str, Sequence[Trajectory]]
) -> EqualBudget:
    whole = {item.key: max(path.spent[kind] for path in paths[item.key]) for item in items}
    best_by_method = {item.method: item for item in reversed(items) if item.is_learned}
    budget = min(whole[item.key] for item in best_by_method.values())
    sign = 1.0 if items[0].objective.mode == "min" else -1.0
    chosen = []
    for method in dict.fromkeys(item.method for item in items):
        tried = [_reached(item, paths[item.key], kind=kind, budget=budget) for item in items if item.method == method]
        valued = [entry for entry in tried if entry.value is not None]
        chosen.append(min(valued, key=lambda entry: _order(entry, sign)) if valued else tried[0])
    return EqualBudget(group, kind, budget, tuple(sorted(chosen, key=lambda entry: _order(entry, sign))))


def _reached(item: Configuration, paths: Sequence[Trajectory], *, kind: str, budget: float) -> Reached:
    ends = [path.reached(budget, kind=kind) for path in paths]
    within = [end for end in ends if end is not None]
    run_ids = tuple(path.run_id for path in paths)
    last = max(path.steps[-1] for path in paths)
    if len(within) < len(ends):
        return Reached(item, None, {}, 0, last, run_ids)
    values = {path.seed: value for path, (_, value) in zip(paths, within, strict=True)}
    value = mean_interval([value for _, value in within])
    return Reached(item, value, values, min(step for step, _ in within), last, run_ids)


def _p_value(entry: Reached, best: Reached) -> float | None:
    """Return the p-value of a test over seeds; a value without seeds is a constant."""
    has_noise = (entry.has_training_noise, best.has_training_noise)
    is_ratio = is_compared_by_ratio(best.item.objective.metric)
    found = over_seeds(entry.by_seed, reference=best.by_seed, has_noise=has_noise, is_ratio=is_ratio)
    return None if found is None else found.p_value


def _order(entry: Reached, sign: float) -> tuple[bool, float]:
    return (entry.value is None, sign * entry.value.mean if entry.value is not None else 0.0)

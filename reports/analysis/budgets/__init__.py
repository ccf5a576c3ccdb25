"""Quality against cost: comparison at equal budgets, and the front of quality against cost."""

from nmlab.reports.analysis.budgets.equal import BUDGET_KINDS, EqualBudget, Reached, equal_budgets
from nmlab.reports.analysis.budgets.pareto import FRONT_COSTS, PEAK, FrontPoint, front, front_points, peaks_differ
from nmlab.reports.analysis.budgets.trajectory import Trajectory, trajectories_of

__all__ = [
    "BUDGET_KINDS",
    "FRONT_COSTS",
    "PEAK",
    "EqualBudget",
    "FrontPoint",
    "Reached",
    "Trajectory",
    "equal_budgets",
    "front",
    "front_points",
    "peaks_differ",
    "trajectories_of",
]

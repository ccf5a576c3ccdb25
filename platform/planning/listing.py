"""List the trials that a study will run, as far as they are known before it starts."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.search.initial_points import initial_points
from nmlab.platform.search.placement import placed
from nmlab.platform.search.samplers import first_points
from nmlab.platform.search.strategies import strategy_of
from nmlab.platform.search.warm_start import COLD, WarmStart
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.contract.values import Scalar


@dataclass(frozen=True)
class Listing:
    """The trials that are known, baselines first; ``open`` configurations depend on the results of earlier ones."""

    specs: tuple[TrialSpec, ...]
    baselines: int
    open: int


def list_trials(plan: LaunchPlan, *, warm: WarmStart = COLD) -> Listing:
    """Return the trials of a plan in the order in which a launch proposes them.

    For a search that learns from results, only the points that it draws before the first result are known. Outcomes of
    earlier launches (``warm``) count as results.
    """
    study, specs = plan.study, list(plan.baselines)
    wanted = plan.configurations
    settled = wanted if study.search.algorithm == "grid" else _settled(plan, warm)
    with tempfile.TemporaryDirectory(prefix="nmlab-") as folder:
        strategy = strategy_of(study, journal=Path(folder) / "optuna.journal", warm=warm)
        for _ in range(settled):
            proposal = strategy.next()
            assert proposal is not None, "as many as configurations_tried says"
            specs += [trial_spec(study, proposal.configuration, seed=seed) for seed in study.seeds]
    return Listing(tuple(specs), len(plan.baselines), wanted - settled)


def _settled(plan: LaunchPlan, warm: WarmStart) -> int:
    """Return how many configurations are known before the first result: initial points, and those that are drawn.

    With outcomes of earlier launches the first proposal is known in any case.
    """
    search, wanted = plan.study.search, plan.configurations
    named = len(initial_points(plan.study)) + len(warm.points_in(plan.study))
    inside = (each for each in warm.known_outcomes if placed(plan.study, each["settings"]) is not None)
    outcomes = sum("values" in each or each.get("pruned", False) for each in inside)
    drawn = first_points(search, configurations=wanted) - outcomes
    return min(wanted, max(1, named, drawn)) if outcomes else first_points(search, configurations=wanted)


def varied(plan: LaunchPlan, spec: TrialSpec) -> dict[str, Scalar]:
    """Return the settings of a trial that the study searches, without method and pattern."""
    return {name: value for name, value in spec.flat().items() if name in plan.study.searched}

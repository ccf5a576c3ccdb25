"""List the trials that a study will run, as far as they are known before it starts."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.planning.study_trials import trial_spec
from nmlab.platform.search.samplers import first_points
from nmlab.platform.search.strategies import strategy_of
from nmlab.trials.contract.trial_spec import TrialSpec
from nmlab.trials.contract.values import Scalar


@dataclass(frozen=True)
class Listing:
    """The trials that are known, baselines first; ``open`` configurations depend on the results of earlier ones."""

    specs: tuple[TrialSpec, ...]
    baselines: int
    open: int


def list_trials(plan: LaunchPlan) -> Listing:
    """Return the trials of a plan in the order in which a launch proposes them.

    For a search that learns from results, only the points that it draws before the first result are known.
    """
    study, specs = plan.study, list(plan.baselines)
    wanted = plan.configurations
    settled = wanted if study.search.algorithm == "grid" else first_points(study.search, configurations=wanted)
    with tempfile.TemporaryDirectory(prefix="nmlab-") as folder:
        strategy = strategy_of(study, journal=Path(folder) / "optuna.journal")
        for _ in range(settled):
            proposal = strategy.next()
            assert proposal is not None, "as many as configurations_tried says"
            specs += [trial_spec(study, proposal.configuration, seed=seed) for seed in study.seeds]
    return Listing(tuple(specs), len(plan.baselines), wanted - settled)


def varied(plan: LaunchPlan, spec: TrialSpec) -> dict[str, Scalar]:
    """Return the settings of a trial that the study searches, without method and pattern."""
    return {name: value for name, value in spec.flat().items() if name in plan.study.searched}

"""The early stopping that a study asks for, and the steps at which its configurations are compared."""

import math

from nmlab.platform.planning.study_plan import LaunchPlan
from nmlab.platform.search.early_stopping import EarlyStopping
from nmlab.platform.search.stopping_rules import (
    Hyperband,
    MedianStopping,
    Rule,
    SuccessiveHalving,
    default_grace_period,
    rungs,
)
from nmlab.trials.contract.metrics import EVAL, VALIDATION, initial_name
from nmlab.trials.trial.history import CURVE_POINTS


def early_stopping(plan: LaunchPlan) -> EarlyStopping:
    """Return the early stopping that a study asks for; without a scheduler it stops nothing."""
    search = plan.study.search
    metric = search.metrics[0]
    return EarlyStopping(
        _rule(plan) if search.scheduler else None,
        metric=metric,
        initial=initial_name(metric),
        mode=search.modes[0],
        seeds=plan.search_seeds,
        baselines=[spec.key for spec in plan.baselines],
    )


def _rule(plan: LaunchPlan) -> Rule:
    study, steps = plan.study, plan.longest_trial
    every = study.intervals.evaluate_every
    if not study.search.metrics[0].startswith((EVAL, VALIDATION)):  # a point of the training curve
        every = study.intervals.log_every or max(1, steps // CURVE_POINTS)
    assert every is not None, "a study without evaluations on the way is refused"
    first = study.search.grace_period
    grace = every * math.ceil(first / every) if first else default_grace_period(steps=steps, every=every)
    if study.search.scheduler == "median":
        return MedianStopping(grace)
    steps_compared = rungs(first=grace, end=steps)
    return Hyperband(steps_compared) if study.search.scheduler == "hyperband" else SuccessiveHalving(steps_compared)

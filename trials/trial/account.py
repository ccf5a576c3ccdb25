"""The account of a trial: cost, times and memory as metrics, and the limits of its budget that are reached."""

from nmlab.trials.contract.sections import TrialBudget
from nmlab.trials.measure.cost import Bill, Cost
from nmlab.trials.measure.memory import peak_bytes
from nmlab.trials.methods.base import Run
from nmlab.trials.models import MaskedModel
from nmlab.trials.trial.footprint import Footprint


def cost_metrics(cost: Cost, *, steps: int, has_step: bool) -> dict[str, float]:
    """Return cost and times after ``steps`` steps; times are left out of a run that has not taken its first step."""
    return {
        name: value for name, value in cost.metrics(steps=steps).items() if has_step or not name.startswith("time/")
    }


def memory_metrics(model: MaskedModel, run: Run, footprint: Footprint) -> dict[str, float]:
    """Return peaks and bytes by kind; all ranks of a pipeline group must call this, and get the same values."""
    pipeline = model.pipeline
    phases = footprint.metrics(pipeline=pipeline)  # before the overall peak, so that this is not lower
    return {
        "memory/peak_bytes": float(max(pipeline.all_gather(peak_bytes(model.frozen.device)))),
        "memory/state_bytes": float(pipeline.all_reduce_count(run.state_bytes)),
        "memory/masked_weight_bytes": float(pipeline.all_reduce_count(model.bytes)),
        "memory/weight_bytes": float(pipeline.all_reduce_count(model.frozen.bytes)),
        **phases,
    }


def reached_limits(bill: Bill, budget: TrialBudget) -> dict[str, tuple[float, float]]:
    """Return the limits that are reached, each with what was used; shared results count with their full cost."""
    limits = budget.model_dump(exclude_none=True)
    return {name: (limit, getattr(bill, name)) for name, limit in limits.items() if getattr(bill, name) >= limit}


def over_budget_notes(bill: Bill, budget: TrialBudget, *, learns: bool) -> list[str]:
    """Return the notes on limits exceeded by a trial that took no step: neither a start nor a one-shot method stops."""
    kind = "its start alone took" if learns else "a one-shot method cannot stop halfway and took"
    reached = reached_limits(bill, budget).items()
    return [f"over the budget of {limit:g} {name}: {kind} {used:g}" for name, (limit, used) in reached if used > limit]

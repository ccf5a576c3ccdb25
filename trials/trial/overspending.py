"""The limits of a trial's budget that are reached, and the notes on those exceeded before the first step."""

from nmlab.trials.contract.sections import TrialBudget
from nmlab.trials.measure.cost import Bill


def overspent(bill: Bill, budget: TrialBudget) -> dict[str, tuple[float, float]]:
    """Return the limits that are reached, each with what was used; shared results count with their full cost."""
    limits = budget.model_dump(exclude_none=True)
    return {name: (limit, getattr(bill, name)) for name, limit in limits.items() if getattr(bill, name) >= limit}


def overspending(bill: Bill, budget: TrialBudget, *, learns: bool) -> list[str]:
    """Return the notes on limits exceeded by a trial that took no step: neither a start nor a one-shot method stops."""
    kind = "its start alone took" if learns else "a one-shot method cannot stop halfway and took"
    reached = overspent(bill, budget).items()
    return [f"over the budget of {limit:g} {name}: {kind} {used:g}" for name, (limit, used) in reached if used > limit]

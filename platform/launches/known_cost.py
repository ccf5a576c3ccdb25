"""The cost of a trial that ended without a report of it: its replica was lost, or no replica ran it."""

from pathlib import Path

from nmlab.platform.records.payloads import ResultRecord
from nmlab.trials.contract.run_tags import Fact, KnownCost
from nmlab.trials.measure.cost import Cost, nothing_spent
from nmlab.trials.trial.checkpoint import saved_values


def add_known_cost(result: ResultRecord, *, folder: Path, was_leased: bool) -> None:
    """Add the cost to the result of a trial that ended without a report of it.

    A trial that no replica took cost nothing. For one that was lost, the newest checkpoint holds the cost up to then;
    later cost, or all of it if there is no checkpoint, is marked as unknown.

    Args:
        result: the fields of a ``TrialResult``, changed in place.
        folder: the trial's folder.
        was_leased: whether a replica ever took it.
    """
    if any(name.startswith("cost/") for name in result["metrics"]):
        return
    if not was_leased:
        result["metrics"] = {**result["metrics"], **nothing_spent()}
        return
    saved = saved_values(folder, key=result["key"])
    if saved is None:
        _mark(result, KnownCost.UNKNOWN, "what it cost is not known: it was lost before its first checkpoint")
        return
    step, values = saved
    account = Cost()
    account.restore(values["cost"])
    known = {
        **account.bill.metrics("cost/"),
        **account.initial.metrics("cost/initial_"),
        **account.spent.metrics("cost/spent_"),
    }
    result["metrics"] = {**result["metrics"], **known}
    result["step"] = max(result["step"], step)
    note = f"its cost is that of its newest checkpoint, after step {step}; later work is not in it"
    _mark(result, KnownCost.IN_PART, note)


def _mark(result: ResultRecord, fact: KnownCost, note: str) -> None:
    result["facts"] = {**result.get("facts", {}), Fact.COST: fact}
    result["notes"] = [*result.get("notes", ()), note]

"""The price of a search: what its runs cost by how they ended, with fresh seeds and baselines beside."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nmlab.reports.analysis.configurations import Configuration, baselines, searched
from nmlab.reports.analysis.space.outcomes import Outcome, outcome_of
from nmlab.reports.read.trials import TrialRecord

KINDS = ("cost/seconds", "cost/forwards", "cost/tokens")
NOT_ENDED = "not ended"


@dataclass(frozen=True, slots=True)
class PricePart:
    """Runs of one kind: their number, the sums of their costs, and of how many the cost is unknown."""

    name: str
    run_ids: tuple[str, ...]
    sums: dict[str, float]
    unknown: int


def price_of(configurations: Sequence[Configuration]) -> tuple[PricePart, ...]:
    """Return the parts of the price of a search, and last all of it; empty without a search or a known cost.

    The sums are those of the total cost elsewhere in the report: all runs of any status, external models left out.
    """
    tried, rules = searched(configurations), baselines(configurations)
    search = [trial for item in tried for trial in item.trials]
    fresh = [trial for item in configurations if item.confirmation for trial in item.confirmation.trials]
    rest = [trial for item in rules for trial in item.trials]
    parts = [(f"search, {kind}", [trial for trial in search if outcome_of(trial) is kind]) for kind in Outcome]
    parts += [
        (f"search, {NOT_ENDED}", [trial for trial in search if outcome_of(trial) is None]),
        ("on fresh seeds", fresh),
        ("baselines", rest),
    ]
    found = [_part(name, trials) for name, trials in parts if trials]
    everything = _part("together", [*search, *fresh, *rest])
    return (*found, everything) if search and any(everything.sums.values()) else ()


def _part(name: str, trials: Sequence[TrialRecord]) -> PricePart:
    own = [trial for trial in trials if not trial.is_external_model]
    sums = {kind: math.fsum(cost for trial in own if not math.isnan(cost := trial.metric(kind))) for kind in KINDS}
    unknown = sum(math.isnan(trial.metric(KINDS[0])) for trial in own)
    return PricePart(name, tuple(trial.run_id for trial in own), sums, unknown)

"""What a search is told of a configuration whose trials have all ended: the mean over its seeds, or how it ended."""

import math
from collections.abc import Mapping, Sequence

from nmlab.platform.records.payloads import FlatResult
from nmlab.platform.search.strategy_protocol import Outcome
from nmlab.search_spaces.schema.constraints import Constraint, excesses
from nmlab.trials.contract.run_status import TrialStatus
from nmlab.trials.contract.values import Scalar


def outcome_of(
    results: Mapping[int, FlatResult],
    *,
    curves: Sequence[Mapping[int, float]],
    configuration: str,
    metrics: Sequence[str],
    constraints: Sequence[Constraint] = (),
) -> Outcome:
    """Return the outcome of a configuration whose trials have all ended.

    All finished: the mean of each objective over the seeds, and by how much the worst seed breaks each constraint. Any
    diverged, failed or out of memory: no values, which becomes FAIL. Otherwise any stopped early: pruned. Intermediate
    values are means at steps that all curves have.

    Args:
        results: of its trials by seed.
        curves: the (first) objective of its trials by step.
        configuration: its digest.
        metrics: the objectives.
        constraints: of the search.
    """
    statuses = {result["status"] for result in results.values()}
    steps = set.intersection(*(set(curve) for curve in curves)) if curves else set()
    intermediate = {step: sum(curve[step] for curve in curves) / len(curves) for step in steps}
    attributes = _attributes(results, configuration, [*metrics, *(limit.metric for limit in constraints)])
    if statuses - {TrialStatus.FINISHED, TrialStatus.STOPPED}:
        return Outcome(None, intermediate=intermediate, attributes=attributes)
    if TrialStatus.STOPPED in statuses:
        return Outcome(None, pruned=True, intermediate=intermediate, attributes=attributes)
    columns = [[float(result.get(metric, math.nan)) for result in results.values()] for metric in metrics]
    return Outcome(
        [sum(column) / len(column) for column in columns],
        intermediate=intermediate,
        constraints=excesses(constraints, list(results.values())),
        attributes=attributes,
    )


def _attributes(results: Mapping[int, FlatResult], configuration: str, names: Sequence[str]) -> dict[str, Scalar]:
    """Return the configuration's digest, and of each seed its status and its last objectives."""
    found: dict[str, Scalar] = {"configuration": configuration}
    for seed, result in results.items():
        found[f"seed {seed}: status"] = str(result["status"])
        for name in names:
            value = float(result.get(name, math.nan))
            found |= {f"seed {seed}: {name}": value} if math.isfinite(value) else {}
    return found

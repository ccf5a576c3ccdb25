"""The check that one side is better than another; most claims consist of such checks."""

from collections.abc import Mapping

from nmlab.reports.analysis.claims.counted import too_few
from nmlab.reports.analysis.claims.evidence import Part
from nmlab.reports.analysis.claims.judge import FEWEST_TIMINGS, ClaimCheck, ClaimVerdict
from nmlab.reports.analysis.pairwise import Side, pairwise_comparisons, untested_reason
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.reports.values import counted

MEASURED_ONCE = "time/"  # metrics that each run measures on its machine


def better_than(first: Part, second: Part, *, metric: str, evaluations: Mapping[str, RunEvaluation]) -> ClaimCheck:
    """Return the check that one side is better than another; a side of which all runs diverged counts as worse.

    Args:
        first: the side that should be better.
        second: the side that should be worse.
        metric: what is compared.
        evaluations: per-window losses by run id.
    """
    text = f"{first.name} against {second.name}"
    if not all(part.side.values(metric) for part in (first, second)):
        return _diverged(first, second, metric=metric)
    (comparison,) = pairwise_comparisons(second.side, others=[first.side], metric=metric, evaluations=evaluations)
    selected = tuple(part.name for part in (first, second) if part.is_selected)
    if gap := _unpaired(first.side, second.side, metric) or _too_few_timings(first.side, second.side, metric):
        return ClaimCheck(text, comparison=comparison, decided=ClaimVerdict.NOT_TESTED, untested=gap, selected=selected)
    return ClaimCheck(
        text, comparison=comparison, untested=untested_reason(comparison, evaluations=evaluations), selected=selected
    )


def _unpaired(first: Side, second: Side, metric: str) -> str:
    """Return a reason if two trained sides have different seeds; a paired test would silently drop some."""
    if not (first.has_training_noise and second.has_training_noise):
        return ""
    own, other = set(first.values(metric)), set(second.values(metric))
    if own == other or min(len(own), len(other)) < 2:
        return ""
    return f"{len(own & other)} of {counted(len(own | other), noun='seed')} ran on both sides"


def _too_few_timings(first: Side, second: Side, metric: str) -> str:
    fewest = min(len(side.values(metric)) for side in (first, second))
    return too_few(fewest) if metric.startswith(MEASURED_ONCE) and fewest < FEWEST_TIMINGS else ""


def _diverged(first: Part, second: Part, *, metric: str) -> ClaimCheck:
    """Return the check of sides that diverged in every run; needs two runs of each that depends on seeds."""
    text = f"{first.name} against {second.name}"
    finished = [bool(part.side.values(metric)) for part in (first, second)]
    both = (*first.side.item.run_ids, *second.side.item.run_ids)
    gone = " and ".join(part.name for part, ended in zip((first, second), finished, strict=True) if not ended)
    counts = [len(part.side.item.run_ids) for part in (first, second)]
    if min(counts) < 2 and any(
        part.side.item.depends_on_seed for part in (first, second) if len(part.side.item.run_ids) < 2
    ):
        return ClaimCheck(
            f"{text}: every run of {gone} diverged", decided=ClaimVerdict.NOT_TESTED, run_ids=both, untested="one seed"
        )
    decided = {(True, False): ClaimVerdict.REPRODUCED, (False, True): ClaimVerdict.CONTRADICTED}
    verdict = decided.get((finished[0], finished[1]), ClaimVerdict.NOT_SEPARABLE)
    shown = f"{text}: every run of {gone} diverged ({counts[0]} against {counts[1]} runs)"
    return ClaimCheck(shown, decided=verdict, run_ids=both)

"""The claims of the papers, and the verdict of a study on each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nmlab.reports.analysis.claims.claim import ChoiceTest, FlatTest, PaperClaim, claims
from nmlab.reports.analysis.claims.decide import checks_of
from nmlab.reports.analysis.claims.evidence import Evidence
from nmlab.reports.analysis.claims.judge import ClaimCheck, ClaimVerdict, Judgement, Shortfall, corrected
from nmlab.reports.analysis.claims.select import NotTestableError, PlannedValues
from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.read.evaluations import RunEvaluation

__all__ = ["ClaimCheck", "ClaimVerdict", "Evidence", "Judgement", "PaperClaim", "checks_of", "claims", "judgements_of"]


def judgements_of(
    configurations: Sequence[Configuration],
    *,
    reproduces: Sequence[str],
    evaluations: Mapping[str, RunEvaluation],
    overlaps: Mapping[tuple[str, str], float] | None = None,
    planned_values: PlannedValues | None = None,
) -> tuple[Judgement, ...]:
    """Return the verdicts of a study on claims, in the order of the papers.

    A study that reproduces published items gets every claim about any of them, tested or not. A study that reproduces
    none gets the claims about methods for which it ran everything that the test names, but none about the value of a
    setting, since a search varies other settings at the same time.

    Args:
        configurations: of one launch, best first.
        reproduces: the published items, such as ``maskpro/table-10``.
        evaluations: per-window losses by run id.
        overlaps: share of equal mask entries by pairs of run ids.
        planned_values: the values of each setting that the study planned to run, where they are known.
    """
    chosen = [
        claim
        for claim in claims().values()
        if (not {*reproduces}.isdisjoint(claim.items) if reproduces else not _is_about_a_setting(claim))
    ]
    masks = [item for item in configurations if not item.is_dense]
    metric = masks[0].objective.reported if masks else ""
    evidence = Evidence(masks, metric, evaluations, overlaps or {}, planned_values or {})
    found = [_judgement(claim, evidence) for claim in chosen]
    return corrected([item for item in found if item.checks or reproduces])


def _judgement(claim: PaperClaim, evidence: Evidence) -> Judgement:
    """Test a claim, once for each pattern where it names none; with several patterns, each check names its own."""
    masks = evidence.configurations
    if not masks:
        return Judgement(claim, reason="no mask was run")
    patterns = list(dict.fromkeys(item.pattern for item in masks))
    groups = {f"{own}, ": [item for item in masks if item.pattern == own] for own in patterns}
    if _names_patterns(claim) or len(patterns) == 1:
        groups = {"": list(masks)}
    checks: list[ClaimCheck] = []
    reasons: dict[str, NotTestableError] = {}
    for named, group in groups.items():
        own = replace(evidence, configurations=group)
        try:
            checks += [_of_pattern(check, named) for check in checks_of(claim.test, evidence=own)]
        except NotTestableError as missing:
            reasons[named] = missing
    if not checks:
        return Judgement(claim, reason=str(next(iter(reasons.values()))))
    return Judgement(claim, (*_patterns_missing(reasons, len(groups)), *checks))


def _patterns_missing(reasons: Mapping[str, NotTestableError], patterns: int) -> tuple[ClaimCheck, ...]:
    """Return a missing check for each pattern that ran in part, but not with everything that the test needs."""
    partly = {named: str(reason) for named, reason in reasons.items() if reason.ran_in_part}
    gap = Shortfall(patterns - len(partly), patterns, "patterns")
    return tuple(
        ClaimCheck(
            reason, decided=ClaimVerdict.NOT_TESTED, missing=f"{named.removesuffix(', ')} ({reason})", shortfall=gap
        )
        for named, reason in partly.items()
    )


def _of_pattern(check: ClaimCheck, named: str) -> ClaimCheck:
    """Return a check with the name of its pattern, where there are several."""
    gap = None if check.shortfall is None else replace(check.shortfall, where=named)
    return replace(check, text=named + check.text, shortfall=gap)


def _is_about_a_setting(claim: PaperClaim) -> bool:
    """Return whether a claim compares values of a setting, which needs a study that varies nothing else."""
    return isinstance(claim.test, ChoiceTest | FlatTest) or '"settings":{"' in claim.test.model_dump_json()


def _names_patterns(claim: PaperClaim) -> bool:
    return '"pattern"' in claim.test.model_dump_json(exclude_none=True)

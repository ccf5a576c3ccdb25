"""The claims of the papers, and what a study says about each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nmlab.reports.claims.claim import ChoiceTest, Claim, FlatTest, claims
from nmlab.reports.claims.decide import Evidence, checks_of
from nmlab.reports.claims.judge import Check, Judgement, Verdict, corrected
from nmlab.reports.claims.select import NotTestableError
from nmlab.reports.configurations import Configuration
from nmlab.reports.evaluations import Evaluation

__all__ = ["Check", "Claim", "Evidence", "Judgement", "Verdict", "claims", "judged"]


def judged(
    configurations: Sequence[Configuration],
    *,
    reproduces: Sequence[str],
    evaluations: Mapping[str, Evaluation],
    overlaps: Mapping[tuple[str, str], float] | None = None,
) -> tuple[Judgement, ...]:
    """Return what a study says about the claims that it decides, in the order of the papers.

    A study that reproduces published items decides the claims about any of them, tested or not. One that reproduces
    nothing in particular decides the claims about methods of which it ran all that the test names; it decides none
    about the value of a setting, since a search moves other settings along with it.

    Args:
        configurations: of one launch, best first.
        reproduces: the published items, such as ``maskpro/table-10``.
        evaluations: per-window losses by run id.
        overlaps: share of equal mask entries by pairs of run ids.
    """
    chosen = [
        claim
        for claim in claims().values()
        if (not {*reproduces}.isdisjoint(claim.items) if reproduces else not _is_about_a_setting(claim))
    ]
    found = [_judgement(claim, configurations, evaluations, overlaps or {}) for claim in chosen]
    return corrected([item for item in found if item.checks or reproduces])


def _judgement(
    claim: Claim,
    configurations: Sequence[Configuration],
    evaluations: Mapping[str, Evaluation],
    overlaps: Mapping[tuple[str, str], float],
) -> Judgement:
    """Test a claim, once for each pattern where it names none; of several, each check says of which it is."""
    masks = [item for item in configurations if not item.is_dense]
    if not masks:
        return Judgement(claim, reason="no mask was run")
    patterns = list(dict.fromkeys(item.pattern for item in masks))
    groups = {f"{own}, ": [item for item in masks if item.pattern == own] for own in patterns}
    if _names_patterns(claim) or len(patterns) == 1:
        groups = {"": masks}
    checks: list[Check] = []
    reasons: list[str] = []
    for named, group in groups.items():
        evidence = Evidence(group, masks[0].objective.metric, evaluations, overlaps)
        try:
            checks += [replace(check, text=named + check.text) for check in checks_of(claim.test, evidence=evidence)]
        except NotTestableError as missing:
            reasons.append(str(missing))
    return Judgement(claim, tuple(checks), reason="" if checks else reasons[0])


def _is_about_a_setting(claim: Claim) -> bool:
    """Return whether a claim compares values of a setting, which takes a study that varies nothing else."""
    return isinstance(claim.test, ChoiceTest | FlatTest) or '"settings":{"' in claim.test.model_dump_json()


def _names_patterns(claim: Claim) -> bool:
    return '"pattern"' in claim.test.model_dump_json(exclude_none=True)

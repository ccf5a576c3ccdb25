"""What a study says about a claim: reproduced, not separable, contradicted, or not tested at this scale."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from nmlab.reports.claims.claim import Claim
from nmlab.reports.contrasts import Contrast, Side, contrasts_with, settled
from nmlab.reports.evaluations import Evaluation
from nmlab.reports.metrics import direction_of, plain_name, style_of
from nmlab.reports.statistics import Comparison
from nmlab.reports.tables import Direction, Style, number_text


class Verdict(StrEnum):
    """What became of a claim."""

    REPRODUCED = "reproduced"
    NOT_SEPARABLE = "not separable"
    CONTRADICTED = "contradicted"
    NOT_TESTED = "not tested at this scale"


@dataclass(frozen=True)
class Check:
    """One statement that a claim rests on: that ``contrast.side`` is better than ``contrast.reference``.

    A check without a contrast is decided by what it was built with: a count, or runs that diverged.
    """

    text: str
    contrast: Contrast | None = None
    decided: Verdict | None = None
    run_ids: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Confirmed, open or refuted, in the words of verdicts."""
        if self.decided is not None:
            return self.decided
        assert self.contrast is not None
        if self.contrast.is_separated is None:
            return Verdict.NOT_TESTED
        if not self.contrast.is_separated:
            return Verdict.NOT_SEPARABLE
        return Verdict.REPRODUCED if _is_better(self.contrast) else Verdict.CONTRADICTED

    @property
    def evidence(self) -> str:
        """The check in one clause, with the difference and the adjusted p-value."""
        if self.contrast is None:
            return self.text
        decisive = self.contrast.decisive
        if decisive is None:
            return f"{self.text}: {_difference(self.contrast)}, untested (one seed)"
        p_value = self.contrast.p_adjusted
        shown = "" if p_value is None else number_text(p_value, style=Style.P_VALUE)
        sign = "" if shown.startswith("<") else "= "
        return f"{self.text}: {_difference(self.contrast)} (p {sign}{shown}, {decisive.n} {decisive.noise})"


@dataclass(frozen=True)
class Judgement:
    """A claim with its checks, or the reason why it could not be tested."""

    claim: Claim
    checks: tuple[Check, ...] = field(default=())
    reason: str = ""

    @property
    def verdict(self) -> Verdict:
        """Contradicted if any check is, reproduced if all are, not tested if none could be."""
        found = {check.verdict for check in self.checks}
        if Verdict.CONTRADICTED in found:
            return Verdict.CONTRADICTED
        if found == {Verdict.REPRODUCED}:
            return Verdict.REPRODUCED
        return Verdict.NOT_TESTED if found <= {Verdict.NOT_TESTED} else Verdict.NOT_SEPARABLE

    @property
    def evidence(self) -> str:
        """What the verdict rests on."""
        return self.reason or "; ".join(check.evidence for check in self.checks)

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs behind the evidence."""
        own = [run_id for check in self.checks for run_id in _runs(check)]
        return tuple(dict.fromkeys(own))


def better_than(
    first: Side, second: Side, *, metric: str, names: tuple[str, str], evaluations: Mapping[str, Evaluation]
) -> Check:
    """Return the check that one side is better than another; a side that only diverged is worse than any that did not.

    Args:
        first: the side that should be better.
        second: the side that should be worse.
        metric: what is compared.
        names: what the sides are called.
        evaluations: per-window losses by run id.
    """
    text = f"{names[0]} against {names[1]}"
    finished = [bool(side.values(metric)) for side in (first, second)]
    if not all(finished):
        both = (*first.item.run_ids, *second.item.run_ids)
        decided = {(True, False): Verdict.REPRODUCED, (False, True): Verdict.CONTRADICTED}
        verdict = decided.get((finished[0], finished[1]), Verdict.NOT_SEPARABLE)
        gone = " and ".join(name for name, ended in zip(names, finished, strict=True) if not ended)
        return Check(f"{text}: every run of {gone} diverged", decided=verdict, run_ids=both)
    (contrast,) = contrasts_with(second, others=[first], metric=metric, evaluations=evaluations)
    return Check(text, contrast=contrast)


def corrected(judgements: Sequence[Judgement]) -> tuple[Judgement, ...]:
    """Return the judgements with the p-values of all their checks adjusted together."""
    places = [
        (place, index)
        for place, judgement in enumerate(judgements)
        for index, check in enumerate(judgement.checks)
        if check.contrast is not None
    ]
    contrasts = [judgements[place].checks[index].contrast for place, index in places]
    adjusted = settled([contrast for contrast in contrasts if contrast is not None])
    checks = [list(judgement.checks) for judgement in judgements]
    for (place, index), contrast in zip(places, adjusted, strict=True):
        checks[place][index] = replace(checks[place][index], contrast=contrast)
    return tuple(replace(item, checks=tuple(own)) for item, own in zip(judgements, checks, strict=True))


def _is_better(contrast: Contrast) -> bool:
    decisive: Comparison | None = contrast.decisive
    assert decisive is not None
    direction = direction_of(contrast.metric, objective=contrast.side.item.objective)
    return decisive.difference > 0 if direction is Direction.HIGHER else decisive.difference < 0


def _difference(contrast: Contrast) -> str:
    """Return a ratio of perplexities, or a difference of anything else, with what it is a difference of."""
    decisive = contrast.decisive or contrast.training
    if contrast.is_ratio and decisive is not None:
        return f"× {number_text(math.exp(decisive.difference), style=Style.RATIO)}"
    value = contrast.difference
    number = number_text(value, style=style_of(contrast.metric))
    return f"{'+' if value > 0 else ''}{number} {plain_name(contrast.metric)}"


def _runs(check: Check) -> tuple[str, ...]:
    if check.contrast is None:
        return check.run_ids
    return (*check.contrast.side.run_ids, *check.contrast.reference.run_ids)

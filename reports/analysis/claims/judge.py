"""The verdict of a study on a claim: reproduced, not separable, contradicted, or not tested at this scale."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from nmlab.reports.analysis.claims.claim import PaperClaim
from nmlab.reports.analysis.metrics import direction_of
from nmlab.reports.analysis.pairwise import PairwiseComparison
from nmlab.reports.analysis.statements import difference_text, p_value_text
from nmlab.reports.read.objective import Objective
from nmlab.reports.statistics import LEVEL, Noise, SideComparison, adjusted
from nmlab.reports.values import Direction

FEWEST_TIMINGS = 3  # of a side; two runs on a busy machine agree by chance too often


class ClaimVerdict(StrEnum):
    """The verdict on a claim."""

    REPRODUCED = "reproduced"
    NOT_SEPARABLE = "not separable"
    CONTRADICTED = "contradicted"
    NOT_TESTED = "not tested at this scale"


@dataclass(frozen=True)
class Tested:
    """A test other than which of two sides is better; ``supports`` means that the result agrees with the claim."""

    p_value: float
    supports: bool
    n: int
    noise: Noise = Noise.TRAINING
    p_adjusted: float | None = None


@dataclass(frozen=True)
class Shortfall:
    """How much of the evidence of a claim ran: ``2 of 5 rules``; ``where`` names the pattern if there are several."""

    ran: int
    needed: int
    noun: str
    where: str = ""


@dataclass(frozen=True)
class ClaimCheck:
    """One statement that a claim rests on: that ``comparison.side`` is better than ``comparison.reference``.

    A check without a comparison is decided by another test or by something that is the same in every run (a count, runs
    that all diverged), or it is a part of the evidence that is missing.

    Attributes:
        untested: why there is no test.
        missing: the part of the evidence that did not run, with its ``shortfall``.
        selected: sides that were selected as the best of several configurations.
    """

    text: str
    comparison: PairwiseComparison | None = None
    decided: ClaimVerdict | None = None
    run_ids: tuple[str, ...] = ()
    tested: Tested | None = None
    untested: str = ""
    missing: str = ""
    shortfall: Shortfall | None = None
    selected: tuple[str, ...] = ()

    @property
    def verdict(self) -> ClaimVerdict:
        """The verdict on this check alone."""
        if self.decided is not None:
            return self.decided
        p_value, supports = self._result()
        if p_value is None:
            return ClaimVerdict.NOT_TESTED
        if p_value >= LEVEL:
            return ClaimVerdict.NOT_SEPARABLE
        return ClaimVerdict.REPRODUCED if supports else ClaimVerdict.CONTRADICTED

    @property
    def evidence(self) -> str:
        """The check as one clause, with the difference and the adjusted p-value, or the reason that there is none."""
        text = self.text if self.comparison is None else f"{self.text}: {difference_text(self.comparison)}"
        if self.untested:
            return f"{text}, untested ({self.untested})"
        if self.tested is not None and self.tested.p_adjusted is not None:
            return f"{text} ({p_value_text(self.tested.p_adjusted)}, {self.tested.n} {self.tested.noise})"
        decisive = self.comparison.decisive if self.comparison is not None else None
        if self.comparison is None or decisive is None or self.comparison.p_adjusted is None:
            return text
        return f"{text} ({p_value_text(self.comparison.p_adjusted)}, {decisive.n} {decisive.noise})"

    def _result(self) -> tuple[float | None, bool]:
        if self.tested is not None:
            return self.tested.p_adjusted, self.tested.supports
        assert self.comparison is not None
        p_value = self.comparison.p_adjusted
        return p_value, p_value is not None and _is_better(self.comparison)


@dataclass(frozen=True)
class Judgement:
    """A claim with its checks, or the reason why it could not be tested."""

    claim: PaperClaim
    checks: tuple[ClaimCheck, ...] = field(default=())
    reason: str = ""

    @property
    def metric(self) -> str:
        """The metric of its comparisons; empty where it has none."""
        return next((check.comparison.metric for check in self.checks if check.comparison is not None), "")

    @property
    def objective(self) -> Objective | None:
        """What its study searched by; None where it has no comparison."""
        compared = (check.comparison for check in self.checks if check.comparison is not None)
        return next((item.side.item.objective for item in compared), None)

    @property
    def missing(self) -> tuple[str, ...]:
        """The parts of the evidence that did not run."""
        return tuple(check.missing for check in self.checks if check.missing)

    @property
    def selected(self) -> tuple[str, ...]:
        """The sides that were selected as the best of several by the numbers that decide."""
        return tuple(dict.fromkeys(name for check in self.checks for name in check.selected))

    @property
    def verdict(self) -> ClaimVerdict:
        """Contradicted if any check is, not tested if any could not be, reproduced if all are."""
        found = {check.verdict for check in self.checks}
        if ClaimVerdict.CONTRADICTED in found:
            return ClaimVerdict.CONTRADICTED
        if not found or ClaimVerdict.NOT_TESTED in found:
            return ClaimVerdict.NOT_TESTED
        return ClaimVerdict.REPRODUCED if found == {ClaimVerdict.REPRODUCED} else ClaimVerdict.NOT_SEPARABLE

    @property
    def evidence(self) -> str:
        """The evidence as text: first what is missing, then each check."""
        if self.reason:
            return self.reason
        head = "" if self.verdict is ClaimVerdict.CONTRADICTED else "not tested "
        gaps = [f"{head}({self._gap_text(gap)})" for gap in self._gaps()]
        return "; ".join([*gaps, *(check.evidence for check in self.checks if not check.missing)])

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs behind the evidence."""
        own = [run_id for check in self.checks for run_id in _runs(check)]
        return tuple(dict.fromkeys(own))

    def _gaps(self) -> tuple[Shortfall, ...]:
        return tuple(dict.fromkeys(check.shortfall for check in self.checks if check.shortfall is not None))

    def _gap_text(self, gap: Shortfall) -> str:
        names = ", ".join(check.missing for check in self.checks if check.shortfall == gap)
        return f"{gap.where}{gap.ran} of {gap.needed} {gap.noun} ran; missing: {names}"


def corrected(judgements: Sequence[Judgement]) -> tuple[Judgement, ...]:
    """Return the judgements with the p-values of all their checks adjusted together, separately by kind of noise."""
    checks = [list(judgement.checks) for judgement in judgements]
    for noise in Noise:
        places = [
            (place, index, p_value)
            for place, own in enumerate(checks)
            for index, check in enumerate(own)
            if (p_value := _p_value(check, noise)) is not None
        ]
        for (place, index, _), p in zip(places, adjusted([p for *_, p in places]), strict=True):
            checks[place][index] = _with_p_value(checks[place][index], p)
    return tuple(replace(item, checks=tuple(own)) for item, own in zip(judgements, checks, strict=True))


def _p_value(check: ClaimCheck, noise: Noise) -> float | None:
    """Return the p-value of a check that rests on this noise, else None."""
    if check.tested is not None:
        return check.tested.p_value if check.tested.noise is noise else None
    decisive = check.comparison.decisive if check.comparison is not None else None
    return decisive.p_value if decisive is not None and decisive.noise is noise else None


def _with_p_value(check: ClaimCheck, p_value: float | None) -> ClaimCheck:
    if check.tested is not None:
        return replace(check, tested=replace(check.tested, p_adjusted=p_value))
    assert check.comparison is not None
    return replace(check, comparison=replace(check.comparison, p_adjusted=p_value))


def _is_better(comparison: PairwiseComparison) -> bool:
    decisive: SideComparison | None = comparison.decisive
    assert decisive is not None
    direction = direction_of(comparison.metric, objective=comparison.side.item.objective)
    return decisive.difference > 0 if direction is Direction.HIGHER else decisive.difference < 0


def _runs(check: ClaimCheck) -> tuple[str, ...]:
    if check.comparison is None:
        return check.run_ids
    return (*check.comparison.side.run_ids, *check.comparison.reference.run_ids)

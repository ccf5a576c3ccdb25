"""The evidence for claims: the sides that a study ran, and those that it did not run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from nmlab.reports.analysis.claims.claim import Selector
from nmlab.reports.analysis.claims.judge import ClaimCheck, ClaimVerdict, Shortfall
from nmlab.reports.analysis.claims.select import NotTestableError, PlannedValues, chosen, selected_from
from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.pairwise import Side
from nmlab.reports.read.evaluations import RunEvaluation
from nmlab.trials.contract.metrics import EVAL, VALIDATION

Overlaps: TypeAlias = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Evidence:
    """The evidence that a test may use.

    Attributes:
        configurations: comparable ones.
        objective: the reported metric, by which sides are compared where a claim names none.
        evaluations: losses by window by run id.
        overlaps: share of equal mask entries by pairs of run ids.
        planned_values: the values of each setting that the study planned, where they are known.
    """

    configurations: Sequence[Configuration]
    objective: str
    evaluations: Mapping[str, RunEvaluation]
    overlaps: Overlaps
    planned_values: PlannedValues = field(default_factory=dict)

    def of_starts(self, metric: str) -> str:
        """Return the metric to compare masks with their starts: on validation text where starts are measured on it."""
        is_validated = metric.startswith(EVAL) and any(item.is_validated for item in self.configurations)
        return VALIDATION + metric.removeprefix(EVAL) if is_validated else metric

    def best(self, selector: Selector, metric: str) -> Side:
        """Return the side that a selector selects.

        Raises:
            NotTestableError: see :func:`chosen`.
        """
        return chosen(selector, configurations=self.configurations, metric=metric, planned_values=self.planned_values)

    def called(self, selector: Selector, metric: str, *, name: str = "") -> str:
        """Return a side's name, with the number of configurations it was selected from."""
        count = selected_from(
            selector, configurations=self.configurations, metric=metric, planned_values=self.planned_values
        )
        return f"{name or selector.text} (best of {count})" if count > 1 else name or selector.text


@dataclass(frozen=True)
class Part:
    """One side of a claim that ran: its name, and whether it was selected as the best of several."""

    name: str
    side: Side
    is_selected: bool


@dataclass(frozen=True)
class Absent:
    """One side that did not run, or not to the end: its name, and the reason."""

    name: str
    reason: str
    ran_in_part: bool


@dataclass(frozen=True)
class Parts:
    """The sides of a claim, those that ran and those that did not; ``noun`` is their plural noun, such as rules."""

    ran: tuple[Part, ...]
    absent: tuple[Absent, ...]
    noun: str

    def missing(self) -> Iterable[ClaimCheck]:
        """Yield a check for each part that is missing."""
        shortfall = Shortfall(len(self.ran), len(self.ran) + len(self.absent), self.noun)
        for part in self.absent:
            yield ClaimCheck(part.reason, decided=ClaimVerdict.NOT_TESTED, missing=part.name, shortfall=shortfall)

    def require(self, fewest: int) -> None:
        """Refuse a claim with too few sides to compare.

        Raises:
            NotTestableError: fewer ran; the message says how many did, and which are missing.
        """
        if len(self.ran) < fewest:
            names = ", ".join(part.name for part in self.absent)
            text = (
                f"not tested ({len(self.ran)} of {len(self.ran) + len(self.absent)} {self.noun} ran; missing: {names})"
            )
            raise NotTestableError(text, ran_in_part=any(part.ran_in_part for part in self.absent))


def part_of(selector: Selector, *, evidence: Evidence, metric: str, name: str = "") -> Part:
    """Return the side that a selector selects.

    Raises:
        NotTestableError: it did not run, or not to the end.
    """
    side = evidence.best(selector, metric)
    called = evidence.called(selector, metric, name=name)
    return Part(called, side, is_selected=called != (name or selector.text))


def parts_of(
    selectors: Mapping[str, Selector],
    *,
    evidence: Evidence,
    metric: str,
    noun: str,
    shorts: Mapping[str, str] | None = None,
) -> Parts:
    """Return the sides that selectors select, by name.

    Args:
        selectors: the selector of each side by its name.
        evidence: what the study ran.
        metric: what is compared.
        noun: the plural noun for the sides, such as rules.
        shorts: shorter names for missing sides.
    """
    ran, absent = [], []
    for name, selector in selectors.items():
        try:
            ran.append(part_of(selector, evidence=evidence, metric=metric, name=name))
        except NotTestableError as error:
            short = (shorts or {}).get(name, name)
            absent.append(Absent(_missing_name(short, error), str(error), error.ran_in_part))
    return Parts(tuple(ran), tuple(absent), noun)


def _missing_name(name: str, error: NotTestableError) -> str:
    """Return the name of a missing side, with the reason where it ran in part."""
    if not error.ran_in_part:
        return name
    _, _, why = str(error).rpartition(": ")
    return f"{name} ({why if ': ' in str(error) else 'not every seed finished'})"

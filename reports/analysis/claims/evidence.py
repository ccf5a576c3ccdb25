"""What the tests of claims look at, and the parts of it that a study did not run."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from nmlab.reports.analysis.claims.claim import Selector
from nmlab.reports.analysis.claims.judge import Check, Shortfall, Verdict
from nmlab.reports.analysis.claims.select import NotTestableError, Planned, chosen, selected_from
from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.pairwise import Side
from nmlab.reports.read.evaluations import Evaluation

Overlaps: TypeAlias = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class Evidence:
    """What a test may look at.

    Attributes:
        configurations: comparable ones.
        objective: the searched metric.
        evaluations: losses by window by run id.
        overlaps: share of equal mask entries by pairs of run ids.
        planned: the values of each setting that the study planned, where they are known.
    """

    configurations: Sequence[Configuration]
    objective: str
    evaluations: Mapping[str, Evaluation]
    overlaps: Overlaps
    planned: Planned = field(default_factory=dict)

    def best(self, selector: Selector, metric: str) -> Side:
        """Return the side that a selector means.

        Raises:
            NotTestableError: see :func:`chosen`.
        """
        return chosen(selector, configurations=self.configurations, metric=metric, planned=self.planned)

    def called(self, selector: Selector, metric: str, *, name: str = "") -> str:
        """Return a side's name, with the number of configurations that it is the best of."""
        count = selected_from(selector, configurations=self.configurations, metric=metric, planned=self.planned)
        return f"{name or selector.text} (best of {count})" if count > 1 else name or selector.text


@dataclass(frozen=True)
class Part:
    """One side of a claim that ran: what it is called, and whether it was picked as the best of several."""

    name: str
    side: Side
    is_selected: bool


@dataclass(frozen=True)
class Absent:
    """One side that did not run, or not to the end: what it is called, and why it can't be compared."""

    name: str
    reason: str
    ran_in_part: bool


@dataclass(frozen=True)
class Parts:
    """The sides of a claim: those that ran, and those that did not; ``noun`` is what they are, in the plural."""

    ran: tuple[Part, ...]
    absent: tuple[Absent, ...]
    noun: str

    def missing(self) -> Iterable[Check]:
        """Give a check for each part that is missing."""
        shortfall = Shortfall(len(self.ran), len(self.ran) + len(self.absent), self.noun)
        for part in self.absent:
            yield Check(part.reason, decided=Verdict.NOT_TESTED, missing=part.name, shortfall=shortfall)

    def require(self, fewest: int) -> None:
        """Refuse what has too few sides to compare anything.

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
    """Return the side that a selector means.

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
    """Return the sides that selectors mean, by name.

    Args:
        selectors: what each side means, by what it is called.
        evidence: what the study ran.
        metric: what is compared.
        noun: what the sides are, in the plural.
        shorts: what a missing one is called, where that is not its name.
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
    """Return a missing side, with why it can't be compared where it ran in part."""
    if not error.ran_in_part:
        return name
    _, _, why = str(error).rpartition(": ")
    return f"{name} ({why if ': ' in str(error) else 'not every seed finished'})"

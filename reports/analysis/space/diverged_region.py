"""The region of the space in which runs diverged: one setting below, above or at a value."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from nmlab.reports.analysis.configurations import Configuration
from nmlab.reports.analysis.settings import distinguishing, setting_of, value_text
from nmlab.reports.read.typed_text import Value
from nmlab.trials.contract.run_status import TrialStatus

NEARLY = 0.9  # of the diverged runs lie in the region, and of its runs diverged
FEWEST_DIVERGED = 2

Points: TypeAlias = Sequence[tuple[Value | None, int, int]]
"""Value of a setting, diverged runs and finished runs of each configuration."""


@dataclass(frozen=True, slots=True)
class Region:
    """A condition on one setting (``logit_magnitude < 4``), its runs, those of them that diverged, and all that did."""

    condition: str
    inside: int
    diverged_inside: int
    diverged: int

    @property
    def is_exact(self) -> bool:
        """Whether every run inside diverged and none outside."""
        return self.diverged == self.diverged_inside == self.inside

    @property
    def wrong(self) -> int:
        """Diverged runs outside and others inside."""
        return (self.diverged - self.diverged_inside) + (self.inside - self.diverged_inside)

    @property
    def text(self) -> str:
        """The region in a few words."""
        if self.is_exact:
            return f"all with {self.condition}, and none of the others"
        most = "all" if self.diverged_inside == self.diverged else f"{self.diverged_inside} of them"
        return f"{most} with {self.condition}, where {self.diverged_inside} of {self.inside} runs diverged"


def diverged_region(tried: Sequence[Configuration]) -> tuple[Region, ...]:
    """Return the conditions on one setting that separate diverged runs from finished ones best; empty if none does.

    A condition counts where nine tenths of the diverged runs are inside and nine tenths of the runs inside diverged.

    Args:
        tried: the searched configurations.
    """
    counts = [(item, item.count(TrialStatus.DIVERGED), item.count(TrialStatus.FINISHED)) for item in tried]
    total, others = sum(own for _, own, _ in counts), sum(own for *_, own in counts)
    if total < FEWEST_DIVERGED or not others:
        return ()
    found = []
    for name in distinguishing(tried):
        points = [(setting_of(item, name=name), diverged, finished) for item, diverged, finished in counts]
        regions = [region for region in _regions(name, points, total) if _separates(region)]
        found += sorted(regions, key=lambda region: region.wrong)[:1]
    least = min((region.wrong for region in found), default=0)
    return tuple(region for region in found if region.wrong == least)


def _separates(region: Region) -> bool:
    return min(region.diverged_inside / region.diverged, region.diverged_inside / max(1, region.inside)) >= NEARLY


def _regions(name: str, points: Points, total: int) -> Iterator[Region]:
    values = {value for value, *_ in points if value is not None}
    for value in sorted(values, key=str):
        yield _region(f"{name} = {value_text(value)}", points, total=total, holds=lambda own, value=value: own == value)
    numbers = sorted(value for value in values if not isinstance(value, str))
    if len(numbers) < len(values):
        return
    for low, high in pairwise(numbers):
        yield _region(f"{name} < {value_text(high)}", points, total=total, holds=lambda own, high=high: own < high)
        yield _region(f"{name} > {value_text(low)}", points, total=total, holds=lambda own, low=low: own > low)


def _region(condition: str, points: Points, *, total: int, holds: Callable[..., bool]) -> Region:
    inside = [(diverged, finished) for value, diverged, finished in points if value is not None and holds(value)]
    diverged = sum(own for own, _ in inside)
    return Region(condition, diverged + sum(own for _, own in inside), diverged, total)

"""The best complete configuration so far, and the best complete baseline to compare it with."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import cast

from nmlab.platform.launches.snapshot import StandingRecord
from nmlab.trials.contract.run_tags import Role


@dataclass(frozen=True)
class Entrant:
    """One trial, with the values that standings need.

    Attributes:
        configuration: the same for all seeds of one configuration.
        role: ``search``, ``baseline``, or ``dense`` for the model without a mask, which is not ranked.
        replicates: the number of seeds of its configuration.
        value: the objective of a trial that finished, else None.
        is_confirmation: whether its seed takes no part in the search, so that it does not stand here.
    """

    configuration: str
    label: str
    pattern: str
    role: str
    replicates: int
    value: float | None
    is_confirmation: bool = False


@dataclass
class _Configuration:
    first: Entrant
    values: list[float] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        return len(self.values) == self.first.replicates

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values)


@dataclass(frozen=True)
class Standing:
    """The best complete configuration of a pattern and the best complete baseline; a mean is over ``seeds`` seeds."""

    pattern: str
    label: str = ""
    mean: float | None = None
    seeds: int = 0
    baseline: str = ""
    baseline_mean: float | None = None

    @property
    def text(self) -> str:
        """The standing in one line; "" if neither the search nor the baselines have a complete configuration."""
        over = f" (mean of {self.seeds} seeds)" if self.seeds > 1 else " (one seed)"
        best = "" if self.mean is None else f"best so far: {self.label} {self.mean:.4g}{over}"
        rule = "" if self.baseline_mean is None else f"best baseline: {self.baseline} {self.baseline_mean:.4g}"
        return "; ".join(part for part in (best, rule) if part)


def standings(entrants: Iterable[Entrant], *, mode: str) -> list[Standing]:
    """Return one standing for each pattern, because masks of different patterns are not compared.

    A configuration counts when all of its seeds have finished, with the mean over them. Fresh seeds, which confirm the
    best of the search, do not count.
    """
    found: dict[str, _Configuration] = {}
    for entrant in entrants:
        if entrant.is_confirmation:
            continue
        own = found.setdefault(entrant.configuration, _Configuration(entrant))
        own.values += [] if entrant.value is None or not math.isfinite(entrant.value) else [entrant.value]
    complete = [item for item in found.values() if item.is_complete]
    patterns = dict.fromkeys(item.first.pattern for item in complete if item.first.role != "dense")
    return [_standing(pattern, complete, mode) for pattern in patterns]


def read_standing(record: StandingRecord) -> Standing:
    """Return a standing from plain JSON."""
    return Standing(**record)


def plain(standing: Standing) -> StandingRecord:
    """Return a standing as plain JSON."""
    return cast(StandingRecord, asdict(standing))


def _standing(pattern: str, complete: list[_Configuration], mode: str) -> Standing:
    own = {
        role: [item for item in complete if (item.first.pattern, item.first.role) == (pattern, role)]
        for role in (Role.SEARCH, Role.BASELINE)
    }
    choose = min if mode == "min" else max
    best, rule = (choose(items, key=lambda item: item.mean) if items else None for items in own.values())
    return Standing(
        pattern,
        label=best.first.label if best else "",
        mean=best.mean if best else None,
        seeds=len(best.values) if best else 0,
        baseline=rule.first.label if rule else "",
        baseline_mean=rule.mean if rule else None,
    )

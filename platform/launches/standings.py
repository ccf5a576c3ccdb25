"""The best complete configuration so far, and the best complete baseline; both on fresh seeds once they are confirmed.

The best is the best by its mean over the seeds of the search. What it reaches on fresh seeds stands beside it, and
never makes another configuration the best: then it would be a choice on what is reported.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import cast

from nmlab.platform.launches.snapshot import StandingRecord
from nmlab.search_spaces.schema.constraints import Constraint, is_feasible
from nmlab.trials.contract.run_tags import Role
from nmlab.trials.contract.values import JsonObject

_LEFT_OUT = ("looked_at", "fresh", "baseline_fresh", "infeasible")
"""Where they are empty."""


@dataclass(frozen=True)
class Entrant:
    """One trial, with the values that standings need.

    Attributes:
        configuration: the same for all seeds of one configuration.
        role: ``search``, ``baseline``, or ``dense`` for the model without a mask, which is not ranked.
        replicates: the number of seeds of its configuration, those that confirm it apart from the others.
        value: the objective of a trial that finished, else None.
        is_confirmation: whether its seed took no part in the search.
        ended: whether it needs no more work.
        limited: the metrics that constraints of the search are on, as far as it has them.
    """

    configuration: str
    label: str
    pattern: str
    role: str
    replicates: int
    value: float | None
    is_confirmation: bool = False
    ended: bool = True
    limited: Mapping[str, float] = field(default_factory=dict)


@dataclass
class _Configuration:
    first: Entrant
    values: list[float] = field(default_factory=list)
    ended: int = 0
    limited: list[Mapping[str, float]] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        return len(self.values) == self.first.replicates

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / len(self.values)

    def keeps(self, constraints: Sequence[Constraint]) -> bool:
        """Return whether it may be the best: baselines are not searched, and have no constraints."""
        return self.first.role != Role.SEARCH or is_feasible(constraints, self.limited)


@dataclass(frozen=True)
class OnFreshSeeds:
    """What a configuration reached on the seeds that confirm it; ``mean`` is over the ``finished`` ones."""

    metric: str
    planned: int
    ended: int
    finished: int
    mean: float | None

    @property
    def text(self) -> str:
        """The result in words, or how far it is."""
        if self.ended < self.planned:
            return f"{self.ended} of {self.planned} fresh seeds have ended"
        if self.mean is None:
            return f"none of {self.planned} fresh seeds finished"
        count = self.planned if self.finished == self.planned else f"{self.finished} of {self.planned}"
        return f"{self.metric} {self.mean:.4g} on {count} fresh {'seed' if self.planned == 1 else 'seeds'}"


@dataclass(frozen=True)
class Standing:
    """The best complete configuration of a pattern and the best complete baseline; a mean is over ``seeds`` seeds.

    Attributes:
        looked_at: how many configurations of the pattern were tried; 0 as long as none is confirmed.
        fresh: what the best one reached on fresh seeds; None if it is not confirmed.
        baseline_fresh: the same of the baseline.
        infeasible: how many complete configurations of the search break a constraint, so that they cannot be the best.
    """

    pattern: str
    label: str = ""
    mean: float | None = None
    seeds: int = 0
    baseline: str = ""
    baseline_mean: float | None = None
    looked_at: int = 0
    fresh: OnFreshSeeds | None = None
    baseline_fresh: OnFreshSeeds | None = None
    infeasible: int = 0

    @property
    def text(self) -> str:
        """The standing in one line; "" if neither the search nor the baselines have a complete configuration."""
        return "; ".join(part for part in (self._best, self._broken, self._rule) if part)

    @property
    def _broken(self) -> str:
        if not self.infeasible:
            return ""
        broken = "1 configuration breaks" if self.infeasible == 1 else f"{self.infeasible} configurations break"
        return f"{broken} search.constraints"

    @property
    def _best(self) -> str:
        if self.mean is None:
            return ""
        if not self.looked_at:
            basis = f" (mean of {self.seeds} seeds)" if self.seeds > 1 else " (one seed)"
            return f"best so far: {self.label} {self.mean:.4g}{basis}"
        tried = "the only configuration" if self.looked_at == 1 else f"best of {self.looked_at} configurations"
        found = "not confirmed" if self.fresh is None else self.fresh.text
        return f"{tried}: {self.label}, {found} (search mean {self.mean:.4g})"

    @property
    def _rule(self) -> str:
        if self.baseline_mean is None:
            return ""
        fresh = self.baseline_fresh
        if fresh is None or fresh.mean is None or fresh.ended < fresh.planned:
            return f"best baseline: {self.baseline} {self.baseline_mean:.4g}"
        return f"best baseline: {self.baseline}, {fresh.text}"


def standings(
    entrants: Iterable[Entrant], *, mode: str, metric: str = "", constraints: Sequence[Constraint] = ()
) -> list[Standing]:
    """Return one standing for each pattern, because masks of different patterns are not compared.

    A configuration counts when all of its seeds have finished, with the mean over them. Fresh seeds, which confirm the
    best of the search, do not count. One of the search that breaks one of the ``constraints`` is not the best.
    """
    searched: dict[str, _Configuration] = {}
    fresh: dict[str, _Configuration] = {}
    for entrant in entrants:
        found = fresh if entrant.is_confirmation else searched
        own = found.setdefault(entrant.configuration, _Configuration(entrant))
        own.values += [] if entrant.value is None or not math.isfinite(entrant.value) else [entrant.value]
        own.ended += entrant.ended
        own.limited.append(entrant.limited)
    patterns = dict.fromkeys(
        item.first.pattern for item in searched.values() if item.is_complete and item.first.role != "dense"
    )
    on_fresh = {name: _on_fresh_seeds(item, metric) for name, item in fresh.items()}
    kept = {name: item for name, item in searched.items() if not item.is_complete or item.keeps(constraints)}
    broken = Counter(item.first.pattern for name, item in searched.items() if name not in kept)
    rest = list(kept.values())
    return [
        _with_infeasible(_standing(pattern, rest, mode, on_fresh=on_fresh), broken[pattern]) for pattern in patterns
    ]


def read_standing(record: StandingRecord) -> Standing:
    """Return a standing from plain JSON."""
    given = cast(JsonObject, record)
    fresh = {name: OnFreshSeeds(**value) for name, value in given.items() if isinstance(value, dict)}
    return Standing(**{**given, **fresh})


def plain(standing: Standing) -> StandingRecord:
    """Return a standing as plain JSON."""
    record = {name: value for name, value in asdict(standing).items() if value or name not in _LEFT_OUT}
    return cast(StandingRecord, record)


def _standing(
    pattern: str, searched: list[_Configuration], mode: str, *, on_fresh: Mapping[str, OnFreshSeeds]
) -> Standing:
    own = {
        role: [item for item in searched if (item.first.pattern, item.first.role) == (pattern, role)]
        for role in (Role.SEARCH, Role.BASELINE)
    }
    best, rule = (_best_of(items, mode) for items in own.values())
    return Standing(
        pattern,
        label=best.first.label if best else "",
        mean=best.mean if best else None,
        seeds=len(best.values) if best else 0,
        baseline=rule.first.label if rule else "",
        baseline_mean=rule.mean if rule else None,
        looked_at=len(own[Role.SEARCH]) if on_fresh else 0,
        fresh=on_fresh.get(best.first.configuration) if best else None,
        baseline_fresh=on_fresh.get(rule.first.configuration) if rule else None,
    )


def _with_infeasible(standing: Standing, broken: int) -> Standing:
    """Return a standing with what breaks a constraint, which was looked at all the same."""
    looked_at = standing.looked_at + broken if standing.looked_at else 0
    return replace(standing, infeasible=broken, looked_at=looked_at)


def _best_of(items: list[_Configuration], mode: str) -> _Configuration | None:
    choose = min if mode == "min" else max
    complete = [item for item in items if item.is_complete]
    return choose(complete, key=lambda item: item.mean) if complete else None


def _on_fresh_seeds(found: _Configuration, metric: str) -> OnFreshSeeds:
    return OnFreshSeeds(
        metric=metric,
        planned=found.first.replicates,
        ended=found.ended,
        finished=len(found.values),
        mean=found.mean if found.values else None,
    )

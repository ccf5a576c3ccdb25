"""What a search strategy proposes, and what it is told of each proposal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from nmlab.search_spaces.space import Configuration
from nmlab.trials.contract.values import Scalar


@dataclass(frozen=True)
class Proposal:
    """A configuration to try, under its number in the search."""

    number: int
    configuration: Configuration


@dataclass(frozen=True)
class Outcome:
    """How a configuration ended over all its seeds.

    Optuna is told COMPLETE if it is not pruned and all values are finite, PRUNED if it is pruned, the search has one
    objective and there are intermediate values, and FAIL otherwise (`OptunaStrategy.tell`). A constraint that nobody
    could check, because a value is missing, makes it FAIL too.

    Attributes:
        values: the objectives; None where any seed has none.
        pruned: whether it was stopped early.
        intermediate: the (first) objective by step.
        constraints: by how much it breaks each constraint, by metric; 0 or less if it keeps it (`Constraint.excess`).
        attributes: what a reader of the search's own file learns of it, by name.
    """

    values: Sequence[float] | None
    pruned: bool = False
    intermediate: Mapping[int, float] = field(default_factory=dict)
    constraints: Mapping[str, float] = field(default_factory=dict)
    attributes: Mapping[str, Scalar] = field(default_factory=dict)


class SearchStrategy(Protocol):
    """A source of configurations, which may learn from their outcomes."""

    def open(self) -> list[Proposal]:
        """Return the proposals that an earlier launch made and that have no outcome yet."""

    def failed(self) -> list[Proposal]:
        """Return the proposals that failed; a resumed launch runs their failed trials again."""

    def next(self) -> Proposal | None:
        """Return another configuration, or None when there are no more."""

    def tell(self, number: int, outcome: Outcome) -> None:
        """Record the outcome of the proposal ``number``."""

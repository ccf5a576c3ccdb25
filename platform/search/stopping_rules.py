"""Stopping rules: which configuration of a search falls behind the others, given their means at the same steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

REDUCTION = 4
"""ASHA lets one in this number of configurations pass a rung, and needs as many before it stops any."""
FEWEST_OTHERS = 3
"""Other configurations that the median rule needs before it stops any."""


@dataclass(frozen=True)
class ConfigurationAtStep:
    """A configuration at one step: the mean of the objective over its seeds, as a loss (lower is better).

    ``has_moved`` says that at least one seed no longer has the value that it started from. If all seeds are at their
    start, the mean shows how good the start is, and nothing of what the configuration learns.
    """

    configuration: str
    step: int
    loss: float
    has_moved: bool


class Rule(Protocol):
    """A stopping rule. It is given every configuration at every step once, in the order of the journal."""

    def falls_behind(self, current: ConfigurationAtStep) -> str:
        """Take a comparison; return why its configuration is to be stopped, or "" where it goes on."""

    def describe(self) -> str:
        """Return in one line when the rule stops a configuration."""


@dataclass
class SuccessiveHalving:
    """Asynchronous successive halving by configuration (Li et al. 2020, arXiv:1810.05934, the stopping variant).

    At each rung a configuration goes on if it is among the best 1/``reduction`` (rounded up) of those that have reached
    the rung, itself included. Fewer than ``reduction`` configurations are too few to stop one. Those that are better
    only by their start, because they have not moved from it, do not count against it.

    Attributes:
        rungs: steps at which configurations are compared, ascending.
    """

    rungs: Sequence[int]
    reduction: int = REDUCTION
    _reached: dict[int, dict[str, ConfigurationAtStep]] = field(default_factory=dict, init=False)

    def falls_behind(self, current: ConfigurationAtStep) -> str:
        for rung in self.rungs:
            reached = self._reached.setdefault(rung, {})
            if current.step >= rung and current.configuration not in reached:
                reached[current.configuration] = current
                if reason := self._reason(current, reached):
                    return reason
        return ""

    def _reason(self, current: ConfigurationAtStep, reached: Mapping[str, ConfigurationAtStep]) -> str:
        if len(reached) < self.reduction:
            return ""
        better = sum(other.loss < current.loss and other.has_moved for other in reached.values())
        places = math.ceil(len(reached) / self.reduction)
        if better < places:
            return ""
        on = "the best one goes" if places == 1 else f"the best {places} go"
        return f"{better} of the {len(reached)} configurations there are better; only {on} on"

    def describe(self) -> str:
        if not self.rungs:
            return "asha: no evaluation lies between the start and the end of a trial, so nothing is stopped early"
        rungs = ", ".join(map(str, self.rungs))
        return f"asha: after {rungs} steps the best 1/{self.reduction} go on, by the mean over seeds"


@dataclass
class Hyperband:
    """Asynchronous Hyperband by configuration (Li et al. 2020, section 3.3): brackets of ASHA, each begins later.

    The first bracket compares at all rungs, the second leaves out the first rung, and the last stops nothing. A
    configuration joins a bracket when its first comparison comes, by the order of the journal, so that the brackets
    fill in the proportions of Hyperband (Li et al. 2018, "Hyperband", algorithm 1): most stop early. It is compared
    with its own bracket alone. A configuration whose curve is bad early and good late can so survive.

    Attributes:
        rungs: those of the first bracket, ascending.
    """

    rungs: Sequence[int]
    reduction: int = REDUCTION
    _brackets: list[SuccessiveHalving] = field(default_factory=list, init=False)
    _sizes: list[int] = field(default_factory=list, init=False)
    _bracket_of: dict[str, int] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        starts = range(len(self.rungs) + 1)
        self._brackets = [SuccessiveHalving(self.rungs[start:], self.reduction) for start in starts]
        self._sizes = [0] * len(self._brackets)

    def falls_behind(self, current: ConfigurationAtStep) -> str:
        if current.configuration not in self._bracket_of:
            self._join(current.configuration)
        bracket = self._bracket_of[current.configuration]
        reason = self._brackets[bracket].falls_behind(current)
        return f"{reason} (bracket {bracket + 1} of {len(self._brackets)})" if reason else ""

    def _join(self, configuration: str) -> None:
        """Give a configuration to the bracket that lacks most of its part; of equals the first."""
        parts = bracket_parts(len(self.rungs), reduction=self.reduction)
        bracket = min(range(len(parts)), key=lambda place: (self._sizes[place] + 1) / parts[place])
        self._bracket_of[configuration] = bracket
        self._sizes[bracket] += 1

    def describe(self) -> str:
        if not self.rungs:
            return "hyperband: no evaluation lies between the start and the end of a trial, so nothing is stopped early"
        parts = bracket_parts(len(self.rungs), reduction=self.reduction)
        shown = [f"{part} from step {rung} on" for part, rung in zip(parts, self.rungs, strict=False)]
        return (
            f"hyperband: of {sum(parts)} configurations {', '.join(shown)}, and {parts[-1]} never; there, and at each "
            f"{self.reduction} times as many steps, the best 1/{self.reduction} of a bracket go on, by their means"
        )


def bracket_parts(rungs: int, *, reduction: int = REDUCTION) -> tuple[int, ...]:
    """Return how many configurations Hyperband has in each bracket, the one with all rungs first, without any last."""
    return tuple(math.ceil((rungs + 1) / (left + 1) * reduction**left) for left in range(rungs, -1, -1))


@dataclass
class MedianStopping:
    """The median rule by configuration (Golovin et al. 2017, "Google Vizier", section 3.2.2).

    A configuration is stopped when its best mean so far is worse than the median of what others had on average, from
    the end of the grace period to the same step. Others that are still at their start are left out.

    Attributes:
        grace_period: the first step at which a configuration may be stopped.
    """

    grace_period: int
    fewest_others: int = FEWEST_OTHERS
    _curves: dict[str, list[ConfigurationAtStep]] = field(default_factory=dict, init=False)

    def falls_behind(self, current: ConfigurationAtStep) -> str:
        own = self._curves.setdefault(current.configuration, [])
        own.append(current)
        if current.step < self.grace_period:
            return ""
        others = [
            self._average(curve, until=current.step)
            for name, curve in self._curves.items()
            if name != current.configuration and curve[-1].step >= current.step and curve[-1].has_moved
        ]
        finite = sorted(loss for loss in others if math.isfinite(loss))
        if len(finite) < self.fewest_others:
            return ""
        middle = (finite[(len(finite) - 1) // 2] + finite[len(finite) // 2]) / 2
        if min(point.loss for point in own) <= middle:
            return ""
        return f"its best is worse than the median of {len(finite)} other configurations"

    def _average(self, curve: Sequence[ConfigurationAtStep], *, until: int) -> float:
        losses = [point.loss for point in curve if self.grace_period <= point.step <= until]
        return math.fsum(losses) / len(losses) if losses else math.nan

    def describe(self) -> str:
        return (
            f"median: from step {self.grace_period} on, by the mean over seeds, once {self.fewest_others} other "
            "configurations have come as far"
        )


def rungs(*, first: int, end: int, reduction: int = REDUCTION) -> tuple[int, ...]:
    """Return the steps of successive halving: ``first``, and then each ``reduction`` times as far, below ``end``."""
    found, step = [], first
    while step < end:
        found.append(step)
        step *= reduction
    return tuple(found)


def default_grace_period(*, steps: int, every: int) -> int:
    """Return the first step at which a configuration may be stopped, a multiple of ``every``.

    It lies past the start: not before the second evaluation, nor before a tenth of the steps, since masks barely move
    at first. If a trial has a single evaluation before its end, it is that one.

    Args:
        steps: of the longest trial.
        every: steps between evaluations.
    """
    wanted = max(2, math.ceil(steps / 10 / every))
    last = (steps - 1) // every
    return every * max(1, min(wanted, last))

"""What an algorithm gives to an Optuna study: its sampler, and how many points that draws without outcomes."""

from collections.abc import Callable
from dataclasses import dataclass

from optuna.samplers import BaseSampler
from optuna.trial import TrialState


@dataclass(frozen=True)
class SamplerSettings:
    """What a sampler is made of: the seed of one proposal, and how many configurations the search tries."""

    seed: int
    configurations: int


@dataclass(frozen=True)
class AlgorithmSampler:
    """An algorithm's sampler.

    Attributes:
        make: returns the sampler of one proposal.
        first_points: returns the points that are drawn without outcomes, of so many configurations.
        learns_from: the states of trials that count as outcomes.
    """

    make: Callable[[SamplerSettings], BaseSampler]
    first_points: Callable[[int], int]
    learns_from: tuple[TrialState, ...] = (TrialState.COMPLETE, TrialState.PRUNED)


def startup_trials(configurations: int) -> int:
    """Return how many of a search's points are drawn at random, before it has enough outcomes to choose."""
    return min(10, max(4, configurations // 3))


def all_points(configurations: int) -> int:
    """Return all configurations: no outcome changes what is drawn."""
    return configurations

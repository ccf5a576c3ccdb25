"""`qmc`: points of a scrambled Sobol sequence, which cover a space more evenly than independent draws.

Every entry of the space has a dimension of its own, whether its condition holds or not, so conditions do not disturb
the sequence. A point depends on the seed of the search and on its place in the sequence, and on nothing else. (Optuna's
own sampler takes the space of the first trial for the space of all.)
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from optuna.samplers import BaseSampler, RandomSampler

from nmlab.platform.search.samplers.sampler import AlgorithmSampler, SamplerSettings, all_points
from nmlab.search_spaces.schema.study import Study
from nmlab.search_spaces.space import Configuration, DefineByRun
from nmlab.trials.contract.values import Scalar

Value = TypeVar("Value", bound=Scalar)


class _Quantiles:
    """A stand-in for an Optuna trial: each name takes the value at its own quantile, in [0, 1), of its range."""

    def __init__(self, quantiles: Mapping[str, float]) -> None:
        self._quantiles = quantiles
        self.asked: Configuration = {}

    def suggest_categorical(self, name: str, choices: Sequence[Value]) -> Value:
        value = choices[self._place(name, len(choices))]
        self.asked[name] = value
        return value

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        ends = (math.log(low), math.log(high)) if log else (low, high)
        value = ends[0] + self._quantiles[name] * (ends[1] - ends[0])
        kept = min(high, max(low, math.exp(value) if log else value))
        self.asked[name] = kept
        return kept

    def suggest_int(self, name: str, low: int, high: int) -> int:
        value = low + self._place(name, high - low + 1)
        self.asked[name] = value
        return value

    def _place(self, name: str, options: int) -> int:
        return min(options - 1, int(self._quantiles[name] * options))


def quasi_random_point(study: Study, *, place: int) -> Configuration:
    """Return the searched values of a study at a place, from 0, of the Sobol sequence that its search's seed names."""
    from scipy.stats import qmc

    names = list(study.entries)
    sequence = qmc.Sobol(len(names), scramble=True, seed=study.search.seed)
    if place:  # of no point fails in scipy 1.17
        sequence.fast_forward(place)
    draw = _Quantiles(dict(zip(names, map(float, sequence.random(1)[0]), strict=True)))
    DefineByRun(study)(draw)
    return draw.asked


def _sampler(settings: SamplerSettings) -> BaseSampler:
    return RandomSampler(seed=settings.seed)  # for what a point of the sequence does not settle, which is nothing


SAMPLER = AlgorithmSampler(_sampler, first_points=all_points)

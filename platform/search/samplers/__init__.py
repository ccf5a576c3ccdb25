"""What draws the configurations of an Optuna study: one module an algorithm, listed in `SAMPLERS`.

Every sampler is made anew for each proposal and seeded by its number, so that proposals depend on the history alone.
"""

from collections.abc import Mapping

from optuna.samplers import BaseSampler

from nmlab.platform.search.samplers import gp, independent, nsga2, qmc, tpe
from nmlab.platform.search.samplers.sampler import AlgorithmSampler, SamplerSettings
from nmlab.search_spaces.schema.algorithms import AlgorithmName
from nmlab.search_spaces.schema.sections import Search

__all__ = ["SAMPLERS", "first_points", "sampler_of"]

SAMPLERS: Mapping[AlgorithmName, AlgorithmSampler] = {
    "random": independent.SAMPLER,
    "qmc": qmc.SAMPLER,
    "tpe": tpe.SAMPLER,
    "gp": gp.SAMPLER,
    "nsga2": nsga2.SAMPLER,
}


def sampler_of(search: Search, *, number: int, configurations: int) -> BaseSampler:
    """Return the sampler of the proposal ``number`` of a search that tries ``configurations`` of them."""
    seed = search.seed * 100_003 + number
    return SAMPLERS[search.algorithm].make(SamplerSettings(seed=seed, configurations=configurations))


def first_points(search: Search, *, configurations: int) -> int:
    """Return how many configurations of a search are drawn before it chooses by outcomes; all if it never does."""
    return min(configurations, SAMPLERS[search.algorithm].first_points(configurations))

"""`nsga2`: the genetic algorithm NSGA-II, for several objectives."""

from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.trial import TrialState

from nmlab.platform.search.samplers.sampler import AlgorithmSampler, SamplerSettings, startup_trials


def population(configurations: int) -> int:
    """Return the size of a generation, of which the first is drawn at random: a quarter, 50 at most.

    A small search has no fewer than TPE draws at random. Optuna's own 50 is more than many searches try, which would
    then never leave the first generation.
    """
    return max(startup_trials(configurations), min(50, configurations // 4))


def _sampler(settings: SamplerSettings) -> BaseSampler:
    return NSGAIISampler(seed=settings.seed, population_size=population(settings.configurations))


SAMPLER = AlgorithmSampler(_sampler, first_points=population, learns_from=(TrialState.COMPLETE,))

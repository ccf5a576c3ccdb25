"""`random`: independent draws."""

from optuna.samplers import BaseSampler, RandomSampler

from nmlab.platform.search.samplers.sampler import AlgorithmSampler, SamplerSettings, all_points


def _sampler(settings: SamplerSettings) -> BaseSampler:
    return RandomSampler(seed=settings.seed)


SAMPLER = AlgorithmSampler(_sampler, first_points=all_points)

"""`tpe`: the tree-structured Parzen estimator, over all names together, grouped by the conditions that they share.

Several objectives are ranked by non-domination and hypervolume (Ozaki et al. 2022, "Multiobjective tree-structured
Parzen estimator", JAIR 73), Optuna's own default for several since version 5.
"""

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler

from nmlab.platform.search.samplers.sampler import AlgorithmSampler, SamplerSettings, startup_trials


def _sampler(settings: SamplerSettings) -> BaseSampler:
    startup = startup_trials(settings.configurations)
    with warnings.catch_warnings():  # both arguments are experimental, and conditional spaces need them
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(seed=settings.seed, multivariate=True, group=True, n_startup_trials=startup)


SAMPLER = AlgorithmSampler(_sampler, first_points=startup_trials)

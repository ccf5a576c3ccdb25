"""`gp`: Bayesian optimisation with a Gaussian process, for searches of few samples. It needs scipy and torch.

Its surrogate takes noise into account, since a mean over seeds is not exact. It learns from complete configurations;
those stopped early tell it nothing.
"""

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler
from optuna.trial import TrialState

from nmlab.platform.search.samplers.sampler import AlgorithmSampler, SamplerSettings, startup_trials


def _sampler(settings: SamplerSettings) -> BaseSampler:
    startup = startup_trials(settings.configurations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return GPSampler(seed=settings.seed, n_startup_trials=startup, warn_independent_sampling=False)


SAMPLER = AlgorithmSampler(_sampler, first_points=startup_trials, learns_from=(TrialState.COMPLETE,))

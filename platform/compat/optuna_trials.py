"""Private parts of Optuna. Importing this module imports Optuna."""

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

__all__ = ["open_trial"]


def open_trial(study: Study, trial: FrozenTrial) -> Trial:
    """Return a trial that an earlier process may have asked for, so that values can be reported to it.

    Instead: ``Study.ask`` returns such a trial to the process that asks and to no other; ``Study.tell`` takes no
    intermediate values.
    Seen: Optuna 5.0
    """
    return Trial(study, trial._trial_id)

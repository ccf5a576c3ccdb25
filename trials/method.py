"""The old place of ``nmlab.trials.methods.base``, kept for methods of other packages for one release."""

from nmlab.trials.context.trial_context import TrialContext as Setting
from nmlab.trials.methods.base import (
    About,
    Arrays,
    Method,
    MethodConfig,
    Run,
    default_from,
    source_of_default,
)

__all__ = ["About", "Arrays", "Method", "MethodConfig", "Run", "Setting", "default_from", "source_of_default"]

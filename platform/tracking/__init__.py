"""MLflow: a parent run for a launch, a child run for every configuration and seed; one thread writes them."""

from nmlab.platform.tracking.recorder import GRACE_S, Recorder, UndeliveredError
from nmlab.platform.tracking.store import MlflowStore

__all__ = ["GRACE_S", "MlflowStore", "Recorder", "UndeliveredError"]

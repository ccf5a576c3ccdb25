"""MLflow: a parent run for a launch, a child run for every configuration and seed; one thread writes them."""

from nmlab.platform.tracking.recorder import DELIVERY_SECONDS, Recorder, UndeliveredError
from nmlab.platform.tracking.store import MlflowStore

__all__ = ["DELIVERY_SECONDS", "MlflowStore", "Recorder", "UndeliveredError"]

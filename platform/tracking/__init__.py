"""MLflow: a parent run for a launch, a child run for every configuration and seed; one thread writes them."""

from typing import TYPE_CHECKING

from nmlab.trials.contract.lazy_names import lazy_names

if TYPE_CHECKING:
    from nmlab.platform.tracking.recorder import DELIVERY_SECONDS, Recorder, UndeliveredError
    from nmlab.platform.tracking.store import MlflowStore

__all__ = ["DELIVERY_SECONDS", "MlflowStore", "Recorder", "UndeliveredError"]

# Imported when asked for, because commands read an address or find a result before torch and MLflow are loaded.
__getattr__ = lazy_names(
    __name__,
    places={
        "DELIVERY_SECONDS": "recorder",
        "MlflowStore": "store",
        "Recorder": "recorder",
        "UndeliveredError": "recorder",
    },
)

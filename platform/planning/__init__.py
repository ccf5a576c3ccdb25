"""From a study to its trials; memory, time and disk of a launch before it is started; refusal of what cannot fit."""

from typing import TYPE_CHECKING

from nmlab.trials.contract.lazy_names import lazy_names

if TYPE_CHECKING:
    from nmlab.platform.planning.admission import admit, proposal
    from nmlab.platform.planning.forecast import Forecast, Forecaster
    from nmlab.platform.planning.machine import Machine, free_bytes

__all__ = ["Forecast", "Forecaster", "Machine", "admit", "free_bytes", "proposal"]

# Imported when asked for, because a forecast loads torch, which a study is checked without.
__getattr__ = lazy_names(
    __name__,
    places={
        "Forecast": "forecast",
        "Forecaster": "forecast",
        "Machine": "machine",
        "admit": "admission",
        "free_bytes": "machine",
        "proposal": "admission",
    },
)

"""From a study to its trials; memory, time and disk of a launch before it is started; refusal of what cannot fit."""

from nmlab.platform.planning.admission import admit, proposal
from nmlab.platform.planning.forecast import Forecast, Forecaster
from nmlab.platform.planning.machine import Machine, free_bytes

__all__ = ["Forecast", "Forecaster", "Machine", "admit", "free_bytes", "proposal"]

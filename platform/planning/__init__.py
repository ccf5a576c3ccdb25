"""What a study is going to take, before it is paid for: memory, time, disk; and refusing what cannot fit."""

from nmlab.platform.planning.admission import admit, proposal
from nmlab.platform.planning.forecast import Forecast, Forecaster
from nmlab.platform.planning.machine import Machine, free_bytes

__all__ = ["Forecast", "Forecaster", "Machine", "admit", "free_bytes", "proposal"]

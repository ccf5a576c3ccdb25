"""From a study to its trials; memory, time and disk of a launch before it is started; refusal of what cannot fit."""

from nmlab.platform.planning.admission import check_study_fits, replica_fit
from nmlab.platform.planning.forecast import Forecast, Forecaster
from nmlab.platform.planning.machine import Machine, free_bytes

__all__ = ["Forecast", "Forecaster", "Machine", "check_study_fits", "free_bytes", "replica_fit"]

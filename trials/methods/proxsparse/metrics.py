"""What ProxSparse records besides the common metrics; imports no torch."""

from nmlab.trials.contract.metrics import Metric
from nmlab.trials.methods.gradient_metrics import GRADIENT_NORM, PENALTY

METRICS = (GRADIENT_NORM, PENALTY, Metric("train/dense_groups", "share"))

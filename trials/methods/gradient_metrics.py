"""What runs that learn by gradient record beside the common metrics; each method lists those that it has."""

from nmlab.trials.contract.metrics import Metric

GRADIENT_NORM = Metric("train/gradient_norm")
PENALTY = Metric("train/penalty", "nats")
SOFT_HARD_GAP = Metric("train/soft_hard_gap")
TAU = Metric("train/tau")

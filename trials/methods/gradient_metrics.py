"""Metrics of runs that learn by gradient, besides the common ones; each method lists those that it records."""

from nmlab.trials.contract.metrics import Metric

GRADIENT_NORM = Metric("train/gradient_norm")
PENALTY = Metric("train/penalty", "nats")
SOFT_HARD_GAP = Metric("train/soft_hard_gap")
TAU = Metric("train/tau")
LAMBDA = Metric("train/lambda")

"""What MaskLLM records besides the common metrics; imports no torch."""

from nmlab.trials.contract.metrics import Metric
from nmlab.trials.methods.gradient_metrics import GRADIENT_NORM, PENALTY, SOFT_HARD_GAP, TAU

METRICS = (
    *(GRADIENT_NORM, PENALTY, SOFT_HARD_GAP, TAU),
    Metric("train/kappa"),
    Metric("train/max_probability"),
    Metric("train/gate_std"),
)

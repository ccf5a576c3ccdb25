"""What soft_topn records besides the common metrics; imports no torch."""

from nmlab.trials.methods.gradient_metrics import GRADIENT_NORM, LAMBDA, PENALTY, SOFT_HARD_GAP, TAU

METRICS = (GRADIENT_NORM, PENALTY, SOFT_HARD_GAP, TAU, LAMBDA)

"""What MaskPro records besides the common metrics; imports no torch."""

from nmlab.trials.contract.measures import Direction
from nmlab.trials.contract.metrics import Metric

METRICS = (
    Metric("train/residual", "nats", Direction.LOWER),
    Metric("train/delta", "nats"),
    Metric("train/flips", "groups"),
    Metric("train/learning_rate"),
)

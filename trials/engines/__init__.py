"""Engines hold the logits of a trial's groups, sample masks from them and move them along the score."""

from nmlab.trials.engines.layout import GroupLayout
from nmlab.trials.engines.linear import SAMPLERS, LinearEngine

__all__ = ["SAMPLERS", "GroupLayout", "LinearEngine"]

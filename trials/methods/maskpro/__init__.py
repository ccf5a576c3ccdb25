"""MaskPro: policy gradient on mask logits with forward passes only (Sun et al. 2025)."""

from nmlab.trials.methods.maskpro.config import MaskProConfig
from nmlab.trials.methods.maskpro.run import METHOD, MaskPro

__all__ = ["METHOD", "MaskPro", "MaskProConfig"]

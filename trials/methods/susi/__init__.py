"""SUSI: M logits a group, learned through a relaxed draw of N without replacement."""

from nmlab.trials.methods.susi.config import SusiConfig
from nmlab.trials.methods.susi.maths import relaxed_mask
from nmlab.trials.methods.susi.run import METHOD, Susi

__all__ = ["METHOD", "Susi", "SusiConfig", "relaxed_mask"]

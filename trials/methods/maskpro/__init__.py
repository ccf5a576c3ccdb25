"""MaskPro: policy gradient on mask logits with forward passes only (Sun et al. 2025)."""

from typing import TYPE_CHECKING

from nmlab.trials.contract.lazy_names import lazy_names

if TYPE_CHECKING:
    from nmlab.trials.methods.maskpro.config import MaskProConfig
    from nmlab.trials.methods.maskpro.run import METHOD, MaskPro

__all__ = ["METHOD", "MaskPro", "MaskProConfig"]

# Imported when asked for, because `metrics` of this package must be readable without torch.
__getattr__ = lazy_names(__name__, places={"MaskProConfig": "config", "METHOD": "run", "MaskPro": "run"})

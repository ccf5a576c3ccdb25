"""MaskLLM: a categorical distribution over the C(M, N) masks of every group, learned through Gumbel-softmax."""

from typing import TYPE_CHECKING

from nmlab.trials.contract.lazy_names import lazy_names

if TYPE_CHECKING:
    from nmlab.trials.methods.maskllm.config import MaskLLMConfig
    from nmlab.trials.methods.maskllm.maths import candidates, soft_mask
    from nmlab.trials.methods.maskllm.run import METHOD, MaskLLM

__all__ = ["METHOD", "MaskLLM", "MaskLLMConfig", "candidates", "soft_mask"]

# Imported when asked for, because `metrics` of this package must be readable without torch.
__getattr__ = lazy_names(
    __name__,
    places={"MaskLLMConfig": "config", "candidates": "maths", "soft_mask": "maths", "METHOD": "run", "MaskLLM": "run"},
)

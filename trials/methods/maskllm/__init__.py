"""MaskLLM: a categorical distribution over the C(M, N) masks of every group, learned through Gumbel-softmax."""

from nmlab.trials.methods.maskllm.config import MaskLLMConfig
from nmlab.trials.methods.maskllm.maths import candidates, soft_mask
from nmlab.trials.methods.maskllm.run import METHOD, MaskLLM

__all__ = ["METHOD", "MaskLLM", "MaskLLMConfig", "candidates", "soft_mask"]

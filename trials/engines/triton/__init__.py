"""The linear engine on CUDA, in Triton kernels. Only making an engine imports ``triton``, not this package."""

from nmlab.trials.engines.triton.availability import unavailable_reason
from nmlab.trials.engines.triton.engine import TritonEngine

__all__ = ["TritonEngine", "unavailable_reason"]

"""The linear engine on CUDA, in Triton kernels. Importing this package does not import ``triton``; making one does."""

from nmlab.trials.engines.triton.availability import unavailable
from nmlab.trials.engines.triton.engine import TritonEngine

__all__ = ["TritonEngine", "unavailable"]

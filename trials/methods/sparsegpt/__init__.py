"""SparseGPT: prune by the inverse Hessian and update the weights that stay (Frantar and Alistarh 2023)."""

from nmlab.trials.methods.sparsegpt.config import SparseGPTConfig
from nmlab.trials.methods.sparsegpt.maths import IndefiniteHessianError, prune
from nmlab.trials.methods.sparsegpt.run import METHOD, SparseGPT, prune_model

__all__ = ["METHOD", "IndefiniteHessianError", "SparseGPT", "SparseGPTConfig", "prune", "prune_model"]

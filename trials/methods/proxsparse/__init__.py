"""ProxSparse: fine-tune a copy of the weights towards 2:4, then take the mask and drop the copy."""

from nmlab.trials.methods.proxsparse.config import ProxSparseConfig
from nmlab.trials.methods.proxsparse.maths import prox
from nmlab.trials.methods.proxsparse.run import METHOD, ProxSparse

__all__ = ["METHOD", "ProxSparse", "ProxSparseConfig", "prox"]

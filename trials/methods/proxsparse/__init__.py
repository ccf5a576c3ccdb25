"""ProxSparse: fine-tune a copy of the weights towards 2:4, then take the mask and drop the copy."""

from typing import TYPE_CHECKING

from nmlab.trials.contract.lazy_names import lazy_names

if TYPE_CHECKING:
    from nmlab.trials.methods.proxsparse.config import ProxSparseConfig
    from nmlab.trials.methods.proxsparse.maths import prox
    from nmlab.trials.methods.proxsparse.run import METHOD, ProxSparse

__all__ = ["METHOD", "ProxSparse", "ProxSparseConfig", "prox"]

# Imported when asked for, because `metrics` of this package must be readable without torch.
__getattr__ = lazy_names(
    __name__, places={"ProxSparseConfig": "config", "prox": "maths", "METHOD": "run", "ProxSparse": "run"}
)

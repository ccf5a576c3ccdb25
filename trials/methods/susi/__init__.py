"""SUSI: M logits a group, learned through a relaxed draw of N without replacement."""

from typing import TYPE_CHECKING

from nmlab.trials.contract.lazy_names import lazy_names

if TYPE_CHECKING:
    from nmlab.trials.methods.susi.config import SusiConfig
    from nmlab.trials.methods.susi.maths import relaxed_mask
    from nmlab.trials.methods.susi.run import METHOD, Susi

__all__ = ["METHOD", "Susi", "SusiConfig", "relaxed_mask"]

# Imported when asked for, because `metrics` of this package must be readable without torch.
__getattr__ = lazy_names(
    __name__, places={"SusiConfig": "config", "relaxed_mask": "maths", "METHOD": "run", "Susi": "run"}
)

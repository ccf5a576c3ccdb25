"""Initial masks of learned methods: computed once for all trials that start from them, and kept as files.

`names` says which methods give one and how it is named, `identity` what a mask depends on, `lookup` reads and writes
its file, `compute` runs the method, and `sharing` finds or computes a mask once and hands it to the trials and pipeline
ranks that ask for it.
"""

from typing import TYPE_CHECKING

from nmlab.trials.contract.lazy_names import lazy_names
from nmlab.trials.methods.initial_masks.names import initial_mask_methods, unknown_reason

if TYPE_CHECKING:
    from nmlab.trials.methods.initial_masks.identity import initial_mask_key
    from nmlab.trials.methods.initial_masks.lookup import initial_mask_file
    from nmlab.trials.methods.initial_masks.sharing import initial_mask

__all__ = ["initial_mask", "initial_mask_file", "initial_mask_key", "initial_mask_methods", "unknown_reason"]

# Imported when asked for, because methods ask for the names of initial masks before torch is loaded.
__getattr__ = lazy_names(
    __name__,
    places={"initial_mask": "sharing", "initial_mask_file": "lookup", "initial_mask_key": "identity"},
)

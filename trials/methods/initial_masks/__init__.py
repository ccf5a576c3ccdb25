"""Initial masks of learned methods: computed once for all trials that start from them, and kept as files.

`identity` says what a mask depends on, `lookup` reads and writes its file, `compute` runs the method, and `sharing`
finds or computes a mask once and hands it to the trials and pipeline ranks that ask for it.
"""

from nmlab.trials.methods.initial_masks.identity import initial_mask_key, initial_mask_methods
from nmlab.trials.methods.initial_masks.lookup import initial_mask_file
from nmlab.trials.methods.initial_masks.sharing import initial_mask

__all__ = ["initial_mask", "initial_mask_file", "initial_mask_key", "initial_mask_methods"]

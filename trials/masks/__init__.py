"""N:M masks: selection, packing, the Plackett-Luce distribution over them, and samplers."""

from nmlab.trials.masks.topn import check_mask, topn

__all__ = ["check_mask", "topn"]

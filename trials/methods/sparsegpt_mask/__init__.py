"""The mask of SparseGPT on the dense weights, as in the comparisons of MaskPro's tables."""

from nmlab.trials.methods.base import About, Run, TrialContext
from nmlab.trials.methods.one_shot import OneShotRun
from nmlab.trials.methods.sparsegpt import SparseGPT, SparseGPTConfig, prune_model
from nmlab.trials.models.needs import Needs, Shape, one_shot_needs


class SparseGPTMask(SparseGPT):
    name = "sparsegpt_mask"
    about = About(
        "Chooses masks as sparsegpt does, updating weights on the way, and puts them on the dense weights.\n"
        "So it can be compared with methods that leave the weights as they are.",
        paper="Frantar and Alistarh 2023, arXiv:2301.00774; the mask alone as in MaskPro, Table 1",
        cost=SparseGPT.about.cost,
        patterns=SparseGPT.about.patterns,
    )

    def needs(self, shape: Shape, config: SparseGPTConfig) -> Needs:
        return one_shot_needs(shape, start=super().needs(shape, config).start, start_reads=3)

    def start(self, context: TrialContext, config: SparseGPTConfig) -> Run:
        masks, _ = prune_model(context, config)
        return OneShotRun(masks)


METHOD = SparseGPTMask()

__all__ = ["METHOD", "SparseGPTMask"]

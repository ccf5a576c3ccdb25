"""The mask of SparseGPT on the dense weights, as in the comparisons of MaskPro's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmlab.trials.methods.base import About, Run
from nmlab.trials.methods.one_shot import OneShotRun
from nmlab.trials.methods.sparsegpt import SparseGPT, SparseGPTConfig

if TYPE_CHECKING:
    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.models.needs import Needs, Shape


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
        from nmlab.trials.models.needs import one_shot_needs

        return one_shot_needs(shape, start=super().needs(shape, config).start, start_reads=3)

    def start(self, context: TrialContext, config: SparseGPTConfig) -> Run:
        from nmlab.trials.methods.sparsegpt.run import prune_model

        masks, _ = prune_model(context, config)
        return OneShotRun(masks)


METHOD = SparseGPTMask()

__all__ = ["METHOD", "SparseGPTMask"]

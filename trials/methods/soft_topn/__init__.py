"""soft_topn: M logits a group, learned through the entropic soft top-N, annealed; a method of nmlab's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods.base import About, Method, Run
from nmlab.trials.methods.initial_logits.settings import unsupported_start_reason
from nmlab.trials.methods.soft_topn.config import SoftTopNConfig
from nmlab.trials.methods.soft_topn.metrics import METRICS
from nmlab.trials.methods.start_pull import unsupported_pull_reason

if TYPE_CHECKING:
    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.models.needs import Needs, Shape


class SoftTopN(Method):
    name = "soft_topn"
    about = About(
        "Learns logits of every weight by gradient through sigmoids that sum to N in every group, without noise.\n"
        "Two temperatures fall until they are the top-N of the logits; each entry stays in [0, 1] for any N.",
        paper="ours; the relaxation is the entropic soft top-k of Xie et al. 2020 and Sander et al. 2023",
        cost="one forward and backward a step; one logit a weight with two Adam moments",
    )
    config = SoftTopNConfig
    metrics = METRICS
    learned = True
    depends_on_seed = True
    supports_pipeline_stages = True
    imports = ("nmlab.trials.methods.soft_topn.run",)

    def unsupported_reason(self, pattern: Pattern, config: SoftTopNConfig) -> str | None:
        reason = unsupported_start_reason(config.initial_logits, config.initial_mask)
        return reason or unsupported_pull_reason(config.start_pull, config.initial_mask)

    def needs(self, shape: Shape, config: SoftTopNConfig) -> Needs:
        from nmlab.trials.methods.soft_topn.needs import needs

        return needs(shape, config)

    def start(self, context: TrialContext, config: SoftTopNConfig) -> Run:
        from nmlab.trials.methods.soft_topn.run import SoftTopNRun

        return SoftTopNRun(context, config)


METHOD = SoftTopN()

__all__ = ["METHOD", "SoftTopN", "SoftTopNConfig"]

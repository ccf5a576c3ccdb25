"""SUSI: M logits a group, learned through a relaxed draw of N without replacement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmlab.trials.contract.lazy_names import lazy_names
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods.base import About, Method, Run
from nmlab.trials.methods.initial_logits.settings import unsupported_start_reason
from nmlab.trials.methods.start_pull import unsupported_pull_reason
from nmlab.trials.methods.susi.config import SusiConfig
from nmlab.trials.methods.susi.metrics import METRICS

if TYPE_CHECKING:
    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.methods.susi.maths import relaxed_mask
    from nmlab.trials.models.needs import Needs, Shape

__getattr__ = lazy_names(__name__, places={"relaxed_mask": "maths"})


class Susi(Method):
    name = "susi"
    about = About(
        "Learns logits of every weight by gradient through a relaxed draw of N of M without replacement.\n"
        "Two temperatures fall until the draw is the top-N of the logits; the loss is the model's own.",
        paper="SUSI (Algorithm 1, Eq. 13)",
        cost="one forward and backward a step; one logit a weight with two Adam moments",
        patterns="any N:M; for N >= 3 the relaxed mask is not N-hot even at the end (exclude_argmax, ours, mends it), "
        "and the paper has N = 2 only",
    )
    config = SusiConfig
    metrics = METRICS
    learned = True
    depends_on_seed = True
    supports_pipeline_stages = True
    imports = ("nmlab.trials.methods.susi.run",)

    def unsupported_reason(self, pattern: Pattern, config: SusiConfig) -> str | None:
        reason = unsupported_start_reason(config.initial_logits, config.initial_mask)
        return reason or unsupported_pull_reason(config.start_pull, config.initial_mask)

    def needs(self, shape: Shape, config: SusiConfig) -> Needs:
        from nmlab.trials.methods.susi.needs import needs

        return needs(shape, config)

    def start(self, context: TrialContext, config: SusiConfig) -> Run:
        from nmlab.trials.methods.susi.run import SusiRun

        return SusiRun(context, config)


METHOD = Susi()

__all__ = ["METHOD", "Susi", "SusiConfig", "relaxed_mask"]

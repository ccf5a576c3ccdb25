"""simple: M logits a group, learned through exact draws of N of M and the Jacobian of their exact marginals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods.base import About, Method, Run
from nmlab.trials.methods.initial_logits.settings import unsupported_start_reason
from nmlab.trials.methods.simple.config import SimpleConfig
from nmlab.trials.methods.simple.metrics import METRICS
from nmlab.trials.methods.start_pull import unsupported_pull_reason

if TYPE_CHECKING:
    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.models.needs import Needs, Shape


class Simple(Method):
    name = "simple"
    about = About(
        "Learns logits of every weight by gradient: each step draws an N:M mask, without any relaxation.\n"
        "The gradient is that of the exact probabilities to be drawn; the draws harden as a temperature falls.",
        paper="ours; the estimator is SIMPLE, Ahmed et al. 2023, arXiv:2210.01941",
        cost="one forward and backward a step; one logit a weight with two Adam moments; N + 2 counts a weight",
    )
    config = SimpleConfig
    metrics = METRICS
    learned = True
    depends_on_seed = True
    supports_pipeline_stages = True
    imports = ("nmlab.trials.methods.simple.run",)

    def unsupported_reason(self, pattern: Pattern, config: SimpleConfig) -> str | None:
        reason = unsupported_start_reason(config.initial_logits, config.initial_mask)
        return reason or unsupported_pull_reason(config.start_pull, config.initial_mask)

    def needs(self, shape: Shape, config: SimpleConfig) -> Needs:
        from nmlab.trials.methods.simple.needs import needs

        return needs(shape, config)

    def start(self, context: TrialContext, config: SimpleConfig) -> Run:
        from nmlab.trials.methods.simple.run import SimpleRun

        return SimpleRun(context, config)


METHOD = Simple()

__all__ = ["METHOD", "Simple", "SimpleConfig"]

"""first_order: the saliency of a one-shot method, corrected by the gradient of the loss at its mask; nmlab's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmlab.trials.contract.lazy_names import lazy_names
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import About, Method, Run
from nmlab.trials.methods.first_order.config import FirstOrderConfig
from nmlab.trials.methods.initial_masks.names import unsupported_base_reason

if TYPE_CHECKING:
    from torch import Tensor

    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.methods.first_order.maths import shifted_logits
    from nmlab.trials.models.needs import Needs, Shape

__getattr__ = lazy_names(__name__, places={"shifted_logits": "maths"})


class FirstOrder(Method):
    name = "first_order"
    about = About(
        "Moves the logarithm of a rule's scores, or of its mask, against the gradient of the loss at that mask.\n"
        "How far is found by a line search on calibration text, which never takes what is worse there than the start.",
        paper="ours; the gradient is the first-order term of Molchanov et al. 2017, arXiv:1611.06440",
        cost="that of its initial_mask, a forward and a backward for each minibatch of the gradient, and a forward for "
        "each minibatch and step size of the line search",
    )
    config = FirstOrderConfig
    supports_pipeline_stages = True
    imports = ("nmlab.trials.methods.first_order.run",)

    def unsupported_reason(self, pattern: Pattern, config: FirstOrderConfig) -> str | None:
        return unsupported_base_reason(config.initial_mask)

    def uses_seed(self, config: FirstOrderConfig) -> bool:
        return registry.get(config.initial_mask).depends_on_seed

    def needs(self, shape: Shape, config: FirstOrderConfig) -> Needs:
        from nmlab.trials.methods.first_order.needs import needs

        return needs(shape, config)

    def start(self, context: TrialContext, config: FirstOrderConfig) -> Run:
        from nmlab.trials.methods.first_order.run import FirstOrderRun

        return FirstOrderRun(context, config)

    def saliency(self, context: TrialContext, config: FirstOrderConfig) -> dict[str, Tensor]:
        from nmlab.trials.methods.first_order.run import corrected_scores

        return corrected_scores(context, config)


METHOD = FirstOrder()

__all__ = ["METHOD", "FirstOrder", "FirstOrderConfig", "shifted_logits"]

"""ProxSparse: fine-tune a copy of the weights towards 2:4, then take the mask and drop the copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmlab.trials.contract.lazy_names import lazy_names
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods.base import About, Method, Run
from nmlab.trials.methods.proxsparse.config import ProxSparseConfig, unsupported_pattern_reason
from nmlab.trials.methods.proxsparse.metrics import METRICS

if TYPE_CHECKING:
    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.methods.proxsparse.maths import prox
    from nmlab.trials.models.needs import Needs, Shape

__getattr__ = lazy_names(__name__, places={"prox": "maths"})


class ProxSparse(Method):
    name = "proxsparse"
    about = About(
        "Fine-tunes a copy of all parameters, with a proximal step towards 2:4 after every update.\n"
        "The mask is the top-2 of the tuned weights and is applied to the original ones; the copy is dropped.",
        paper="Liu et al. 2025, ProxSparse",
        cost="one forward and backward a step; a float32 copy of all parameters with two Adam moments",
        patterns="2:4 only",
    )
    config = ProxSparseConfig
    metrics = METRICS
    learned = True
    imports = ("nmlab.trials.methods.proxsparse.run",)

    def unsupported_reason(self, pattern: Pattern, config: ProxSparseConfig) -> str | None:
        return unsupported_pattern_reason(pattern)

    def needs(self, shape: Shape, config: ProxSparseConfig) -> Needs:
        from nmlab.trials.methods.proxsparse.needs import needs

        return needs(shape, config)

    def start(self, context: TrialContext, config: ProxSparseConfig) -> Run:
        from nmlab.trials.methods.proxsparse.run import ProxSparseRun

        return ProxSparseRun(context, config)


METHOD = ProxSparse()

__all__ = ["METHOD", "ProxSparse", "ProxSparseConfig", "prox"]

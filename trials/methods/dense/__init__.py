"""The dense model itself: the baseline that sparse models are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmlab.trials.methods.base import About, Method, MethodConfig, Run

if TYPE_CHECKING:
    from torch import Tensor

    from nmlab.trials.methods.base import TrialContext


class _DenseRun(Run):
    def masks(self) -> dict[str, Tensor]:
        return {}


class Dense(Method):
    name = "dense"
    about = About(
        "The unpruned model, for scale.\n"
        "Not quite a ceiling: a learned mask can fit the calibration text better than the model does.",
        paper="-",
        cost="nothing",
        patterns="none: nothing is pruned",
    )
    sparse = False
    reads_text = False
    supports_pipeline_stages = True

    def start(self, context: TrialContext, config: MethodConfig) -> Run:
        return _DenseRun()


METHOD = Dense()

__all__ = ["METHOD", "Dense"]

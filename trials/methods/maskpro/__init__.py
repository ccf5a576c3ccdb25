"""MaskPro: policy gradient on mask logits with forward passes only (Sun et al. 2025)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods.base import About, Method, Run
from nmlab.trials.methods.initial_masks.names import unknown_reason, unsupported_base_reason
from nmlab.trials.methods.maskpro.config import MaskProConfig
from nmlab.trials.methods.maskpro.metrics import METRICS

if TYPE_CHECKING:
    from nmlab.trials.contract.sections import CalibrationSpec
    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.models.needs import Needs, Shape


class MaskPro(Method):
    name = "maskpro"
    about = About(
        "Learns logits of every weight by policy gradient on whole-model losses, with forward passes only.\n"
        "The score of each sampled mask is weighted by its loss residual against the initial mask, less a tracker.",
        paper="Sun et al. 2025, MaskPro (Algorithm 1)",
        cost="one forward a mask and step; one logit a weight",
    )
    config = MaskProConfig
    metrics = METRICS
    learned = True
    depends_on_seed = True
    supports_pipeline_stages = True
    imports = ("nmlab.trials.methods.maskpro.run",)

    def unsupported_reason(self, pattern: Pattern, config: MaskProConfig) -> str | None:
        if reason := unknown_reason(config.initial_mask):
            return reason
        if config.initial_logits == "first_order" and (reason := unsupported_base_reason(config.initial_mask)):
            return reason
        if config.compat == "official" and pattern != Pattern(2, 4):
            return f"compat: official exists for 2:4 only (the authors' code has no other), not for {pattern}"
        return None

    def unsupported_text_reason(self, config: MaskProConfig, *, minibatches: int) -> str | None:
        if config.loss_masks and config.loss_batches > minibatches:
            given = f"loss_batches = {config.loss_batches}"
            return f"{given}: the calibration text makes no more than {minibatches} minibatches"
        return None

    def unsupported_calibration_reason(self, config: MaskProConfig, calibration: CalibrationSpec) -> str | None:
        compares = config.mask_per == "sequence" and config.estimator == "tracked" and config.tracker == "leave_one_out"
        if compares and 1 in (calibration.samples % calibration.batch_size, calibration.batch_size):
            given = f"samples = {calibration.samples}, batch_size = {calibration.batch_size}"
            return f"mask_per = sequence: {given} leave one sequence alone, with no other to compare it with"
        return super().unsupported_calibration_reason(config, calibration)

    def needs(self, shape: Shape, config: MaskProConfig) -> Needs:
        from nmlab.trials.methods.maskpro.needs import needs

        return needs(shape, config)

    def start(self, context: TrialContext, config: MaskProConfig) -> Run:
        from nmlab.trials.methods.maskpro.run import MaskProRun

        return MaskProRun(context, config)


METHOD = MaskPro()

__all__ = ["METHOD", "MaskPro", "MaskProConfig"]

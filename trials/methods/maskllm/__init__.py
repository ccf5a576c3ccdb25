"""MaskLLM: a categorical distribution over the C(M, N) masks of every group, learned through Gumbel-softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nmlab.trials.contract.lazy_names import lazy_names
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.methods.base import About, Method, Run
from nmlab.trials.methods.initial_logits.settings import FIRST_ORDER, missing_mask_reason
from nmlab.trials.methods.initial_masks.names import unknown_reason, unsupported_base_reason
from nmlab.trials.methods.maskllm.config import NO_PRIOR, MaskLLMConfig
from nmlab.trials.methods.maskllm.metrics import METRICS
from nmlab.trials.methods.start_pull import unsupported_pull_reason

if TYPE_CHECKING:
    from nmlab.trials.methods.base import TrialContext
    from nmlab.trials.methods.maskllm.maths import candidates, soft_mask
    from nmlab.trials.models.needs import Needs, Shape

_BYTES_A_GATE = 16  # float32: value, gradient and two moments

__getattr__ = lazy_names(__name__, places={"candidates": "maths", "soft_mask": "maths"})


class MaskLLM(Method):
    name = "maskllm"
    about = About(
        "Learns a gate for every one of the C(M, N) masks of every group by gradient through Gumbel-softmax.\n"
        "The gates grow and the temperature falls until one mask a group is left; a one-shot mask is the prior.",
        paper="Fang et al. 2024, MaskLLM",
        cost="one forward and backward a step; C(M, N) / M gates a weight with two Adam moments",
        patterns="any N:M with at most max_candidates masks a group (2:4 has 6, 4:8 has 70, 8:16 has 12870)",
    )
    config = MaskLLMConfig
    supports_pipeline_stages = True
    metrics = METRICS
    learned = True
    depends_on_seed = True
    imports = ("nmlab.trials.methods.maskllm.run",)

    def unsupported_reason(self, pattern: Pattern, config: MaskLLMConfig) -> str | None:
        if reason := unknown_reason(config.initial_mask, others=[NO_PRIOR]):
            return reason
        if config.initial_logits != "random" and config.initial_mask == NO_PRIOR:
            return missing_mask_reason(config.initial_logits)
        if config.initial_logits == FIRST_ORDER and (reason := unsupported_base_reason(config.initial_mask)):
            return reason
        if reason := unsupported_pull_reason(config.start_pull, config.initial_mask):
            return reason
        if pattern.mask_count <= config.max_candidates:
            return None
        gates = pattern.mask_count / pattern.m
        return (
            f"{pattern} has {pattern.mask_count} masks a group, more than max_candidates = {config.max_candidates}: "
            f"{gates:g} gates a weight, {_BYTES_A_GATE * gates * 1e6:,.0f} bytes with gradient and Adam "
            "for every million weights"
        )

    def needs(self, shape: Shape, config: MaskLLMConfig) -> Needs:
        from nmlab.trials.methods.maskllm.needs import needs

        return needs(shape, config)

    def start(self, context: TrialContext, config: MaskLLMConfig) -> Run:
        from nmlab.trials.methods.maskllm.run import MaskLLMRun

        return MaskLLMRun(context, config)


METHOD = MaskLLM()

__all__ = ["METHOD", "MaskLLM", "MaskLLMConfig", "candidates", "soft_mask"]

"""A run of MaskLLM on one trial's view of the frozen model.

Legend: G groups, M group size, K candidates a group.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from nmlab.trials.engines import GroupLayout
from nmlab.trials.engines.adamw import AdamW
from nmlab.trials.engines.noise import gumbel, normal
from nmlab.trials.engines.schedules import cosine_to_a_tenth, linear
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.by_gradient import SoftMaskRun, StepWeights
from nmlab.trials.methods.initial_logits.compute import saliency_logits
from nmlab.trials.methods.initial_logits.settings import saliency_name
from nmlab.trials.methods.initial_masks import initial_mask
from nmlab.trials.methods.maskllm.config import NO_PRIOR, MaskLLMConfig
from nmlab.trials.methods.maskllm.maths import (
    hard_mask,
    largest_share,
    sampled_mask,
    soft_mask,
    with_prior,
    with_saliency,
)

_BETAS, _EPSILON = (0.9, 0.95), 1e-5  # the scripts'


class MaskLLMRun(SoftMaskRun):
    """A run of MaskLLM: draws a soft mask, computes the loss less the reward for large weights, and steps."""

    def __init__(self, context: TrialContext, config: MaskLLMConfig) -> None:
        self._config = config
        self._gate_GK = _initial_gates(context, config)
        adamw = AdamW(
            {"gates": self._gate_GK},
            betas=_BETAS,
            weight_decay=config.weight_decay,
            epsilon=_EPSILON,
            clip_norm=config.clip_norm,
        )
        super().__init__(context, config, adamw=adamw, straight_through=config.straight_through)

    def initial_masks(self) -> dict[str, Tensor]:
        """Return the masks of the largest first gates: near the prior, not equal to it, because the gates are noisy."""
        gate_GK = _initial_gates(self._context, self._config)
        return self._layout.split(hard_mask(gate_GK, pattern=self._context.pattern))

    @torch.no_grad()
    def observe(self) -> Mapping[str, float]:
        """Return also the schedules at the last step, and the confidence of the gates without noise."""
        kappa, tau = self._scale_and_temperature(self._last_step)
        surest_G = largest_share(self._gate_GK, kappa=kappa)
        own = {
            "train/kappa": kappa,
            "train/tau": tau,
            "train/max_probability": self._mean(surest_G),
            "train/gate_std": math.sqrt(self._mean((self._gate_GK - self._mean(self._gate_GK)).square_())),
        }
        return {**super().observe(), **own}

    def _noise(self, step: int) -> Tensor:
        key = (self._context.seed, step)
        return gumbel(self._layout, width=self._context.pattern.mask_count, key=key).to(self._device)

    def _soft(self, noise_GW: Tensor, step: int) -> Tensor:
        kappa, tau = self._scale_and_temperature(step)
        # Layer by layer, because a product of matrices may round a row by how many others there are.
        parts = zip(self._by_layer(self._gate_GK), self._by_layer(noise_GW), strict=True)
        return torch.cat(
            [soft_mask(gate, noise, kappa=kappa, tau=tau, pattern=self._context.pattern) for gate, noise in parts]
        )

    def _hard(self, noise_GW: Tensor, step: int) -> Tensor:
        kappa, _ = self._scale_and_temperature(step)
        return sampled_mask(self._gate_GK, noise_GW, kappa=kappa, pattern=self._context.pattern)

    def _hard_mask(self) -> Tensor:
        return hard_mask(self._gate_GK.detach(), pattern=self._context.pattern)

    def _penalty(self, step: int, weights: StepWeights) -> Tensor | None:
        """Return the pull towards the initial mask less the reward for large weights; None without both."""
        pull = super()._penalty(step, weights)
        if not self._config.weight_regularization:
            return pull
        strength = linear(self._config.weight_regularization, 0.0, step / self.steps)
        norms_L = torch.stack([weight.float().square().sum() for weight in weights.by_name.values()])
        reward = -strength * self._over_all(norms_L)
        return reward if pull is None else reward + pull

    def _learning_rate(self, step: int) -> float:
        return cosine_to_a_tenth(self._config.learning_rate, step, steps=self.steps)

    def _scale_and_temperature(self, step: int) -> tuple[float, float]:
        """Return kappa and tau, each linear in the step."""
        config, share = self._config, step / self.steps
        return linear(config.kappa_init, config.kappa_end, share), linear(config.tau_init, config.tau_end, share)


def _initial_gates(context: TrialContext, config: MaskLLMConfig) -> Tensor:
    pattern = context.pattern
    layout = GroupLayout(context.model.frozen.layers, pattern=pattern)
    gate_GK = normal(layout, width=pattern.mask_count, key=(context.seed, "initial gates")).mul_(config.initial_std)
    gate_GK = gate_GK.to(context.model.frozen.device)
    if config.initial_mask == NO_PRIOR:
        return gate_GK
    from_saliency = config.initial_logits != "random"
    name = saliency_name(config.initial_logits, config.initial_mask)
    found = (saliency_logits if from_saliency else initial_mask)(name, context)
    raised, strength = with_saliency if from_saliency else with_prior, config.prior_strength
    ((_, layers),) = layout.pieces(layout.groups)
    return torch.cat(
        [
            raised(gate_GK[rows], found[name].view(-1, pattern.m), strength=strength, pattern=pattern)
            for name, rows in layers
        ]
    )

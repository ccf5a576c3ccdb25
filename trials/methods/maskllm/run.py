"""A run of MaskLLM on one trial's view of the frozen model.

Legend: G groups, M group size, K candidates a group.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from nmlab.trials.contract.near_names import unknown_name
from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.engines import GroupLayout
from nmlab.trials.engines.adamw import AdamW
from nmlab.trials.engines.noise import gumbel, normal
from nmlab.trials.engines.schedules import cosine_to_a_tenth, linear
from nmlab.trials.methods import registry
from nmlab.trials.methods.base import About, Method, Run, TrialContext
from nmlab.trials.methods.by_gradient import SoftMaskRun
from nmlab.trials.methods.initial_masks import initial_mask, initial_mask_methods
from nmlab.trials.methods.maskllm.config import MaskLLMConfig
from nmlab.trials.methods.maskllm.maths import hard_mask, largest_share, sampled_mask, soft_mask, with_prior
from nmlab.trials.methods.maskllm.metrics import METRICS
from nmlab.trials.models.needs import FLOAT32, Needs, Shape, adamw_state, masked_by, shared_start

_NO_PRIOR = "none"
_BETAS, _EPSILON = (0.9, 0.95), 1e-5  # the scripts'
_PASSES_A_GATE = 25.0  # of a step: noise, softmax and back, AdamW; see benchmarks/plan_accuracy.py
_BYTES_A_GATE = 16  # float32: value, gradient and two moments


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

    def unsupported_reason(self, pattern: Pattern, config: MaskLLMConfig) -> str | None:
        known = (*initial_mask_methods(), _NO_PRIOR)
        if config.initial_mask not in known:
            return unknown_name(config.initial_mask, kind="initial_mask", known=known)
        if pattern.mask_count <= config.max_candidates:
            return None
        gates = pattern.mask_count / pattern.m
        return (
            f"{pattern} has {pattern.mask_count} masks a group, more than max_candidates = {config.max_candidates}: "
            f"{gates:g} gates a weight, {_BYTES_A_GATE * gates * 1e6:,.0f} bytes with gradient and Adam "
            "for every million weights"
        )

    def needs(self, shape: Shape, config: MaskLLMConfig) -> Needs:
        def weights() -> dict[str, Tensor]:
            gate_GK = torch.empty(shape.groups, candidates, requires_grad=True)
            drawn_GK = (gate_GK * config.kappa_init + torch.empty_like(gate_GK)) / config.tau_init
            return masked_by(shape, drawn_GK.softmax(dim=1) @ torch.empty(candidates, shape.pattern.m))

        candidates = shape.pattern.mask_count
        gates = shape.groups * candidates
        passes = _PASSES_A_GATE * candidates / shape.pattern.m
        state = adamw_state(shape, {"gates": gates})
        return Needs(
            state,
            masked=shape.weight_bytes,
            start=2 * FLOAT32 * gates,
            weights=weights,
            passes=passes,
            shared=_shared(config, shape),
        )

    def start(self, context: TrialContext, config: MaskLLMConfig) -> Run:
        return MaskLLMRun(context, config)


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
        super().__init__(context, steps=config.steps, adamw=adamw, straight_through=config.straight_through)

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

    def _penalty(self, step: int, weights: Mapping[str, Tensor]) -> Tensor | None:
        if not self._config.weight_regularization:
            return None
        strength = linear(self._config.weight_regularization, 0.0, step / self.steps)
        return -strength * self._over_all(torch.stack([weight.float().square().sum() for weight in weights.values()]))

    def _over_all(self, own_L: Tensor) -> Tensor:
        """Return the sum over the layers of all pipeline stages, with the gradient of those that are held here."""
        sums = [value for theirs in self._pipeline.all_gather(own_L.detach().tolist()) for value in theirs]
        return own_L.new_tensor(sums).sum() + (own_L.sum() - own_L.detach().sum())

    def _learning_rate(self, step: int) -> float:
        return cosine_to_a_tenth(self._config.learning_rate, step, steps=self.steps)

    def _scale_and_temperature(self, step: int) -> tuple[float, float]:
        """Return kappa and tau, each linear in the step."""
        config, share = self._config, step / self.steps
        return linear(config.kappa_init, config.kappa_end, share), linear(config.tau_init, config.tau_end, share)


def _shared(config: MaskLLMConfig, shape: Shape) -> dict[str, int]:
    if config.initial_mask == _NO_PRIOR:
        return {}
    method = registry.get(config.initial_mask)
    needs = method.needs(shape, method.configure({}))
    return shared_start(method.name, shape, needs=needs, per_seed=method.depends_on_seed)


def _initial_gates(context: TrialContext, config: MaskLLMConfig) -> Tensor:
    pattern = context.pattern
    layout = GroupLayout(context.model.frozen.layers, pattern=pattern)
    gate_GK = normal(layout, width=pattern.mask_count, key=(context.seed, "initial gates")).mul_(config.initial_std)
    gate_GK = gate_GK.to(context.model.frozen.device)
    if config.initial_mask == _NO_PRIOR:
        return gate_GK
    priors = initial_mask(config.initial_mask, context)
    ((_, layers),) = layout.pieces(layout.groups)
    return torch.cat(
        [
            with_prior(gate_GK[rows], priors[name].view(-1, pattern.m), strength=config.prior_strength, pattern=pattern)
            for name, rows in layers
        ]
    )


METHOD = MaskLLM()

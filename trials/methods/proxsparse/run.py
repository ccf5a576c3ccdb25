"""A run of ProxSparse: the trial trains a copy of all parameters of its own; the frozen model is only read."""

from collections.abc import Mapping

import torch
from torch import Tensor

from nmlab.trials.engines.adamw import AdamW
from nmlab.trials.engines.schedules import warmup_then_linear
from nmlab.trials.masks.topn import topn
from nmlab.trials.methods.base import TrialContext
from nmlab.trials.methods.by_gradient import GradientRun, StepWeights
from nmlab.trials.methods.proxsparse.config import ProxSparseConfig
from nmlab.trials.methods.proxsparse.maths import anchor_penalty, prox

_BETAS, _WARMUP = (0.9, 0.999), 0.1  # Hugging Face's defaults, which the scripts keep


class ProxSparseRun(GradientRun):
    """A run of ProxSparse: gradient at the trial's own weights, a step of AdamW, the proximal step of every group."""

    def __init__(self, context: TrialContext, config: ProxSparseConfig) -> None:
        self._config = config
        self._original = dict(context.model.frozen.module.named_parameters())
        # float32 whatever the model's type: a step of 1e-4 is below the resolution of bfloat16 weights.
        self._own = {name: tensor.detach().float().clone() for name, tensor in self._original.items()}
        self._prunable = {layer.name: self._own[f"{layer.name}.weight"] for layer in context.model.frozen.layers}
        adamw = AdamW(self._own, betas=_BETAS, weight_decay=config.weight_decay, clip_norm=config.clip_norm)
        super().__init__(context, config, adamw=adamw)

    def initial_masks(self) -> dict[str, Tensor]:
        """Return the top-2 of the original weights: the result of a run without steps. It starts from no mask."""
        return {name: self._top_2(self._original[f"{name}.weight"]) for name in self._prunable}

    @torch.no_grad()
    def observe(self) -> Mapping[str, float]:
        """Return also the share of groups that are not yet 2:4."""
        weights_GM = self._layout.join(self._prunable)
        dense = (weights_GM != 0).sum(dim=1) > self._context.pattern.n
        return {**super().observe(), "train/dense_groups": float(dense.double().mean())}

    def _weights(self, step: int) -> StepWeights:
        return StepWeights({name: weight.to(self._original[name].dtype) for name, weight in self._own.items()})

    def _penalty(self, step: int, weights: StepWeights) -> Tensor | None:
        if not self._config.anchor_lambda:
            return None
        penalties = [
            anchor_penalty(own, self._original[f"{name}.weight"].float(), epsilon=self._config.anchor_epsilon)
            for name, own in self._prunable.items()
        ]
        return self._config.anchor_lambda * torch.stack(penalties).sum()

    @torch.no_grad()
    def _after_update(self) -> None:
        for weight in self._prunable.values():
            weight.copy_(prox(weight, self._config.prox_lambda, self._context.pattern))

    def _hard_mask(self) -> Tensor:
        return self._layout.join({name: self._top_2(weight) for name, weight in self._prunable.items()})

    def _top_2(self, weight: Tensor) -> Tensor:
        return topn(weight.detach().float().abs(), self._context.pattern)

    def _learning_rate(self, step: int) -> float:
        return warmup_then_linear(self._config.learning_rate, step, steps=self.steps, warmup=_WARMUP)

"""A method of another package: change the mask of one layer at random, keep the change if the loss falls."""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from nmlab.trials.contract.measures import Direction
from nmlab.trials.contract.metrics import Metric
from nmlab.trials.masks.bits import pack, unpack
from nmlab.trials.masks.randomness import keyed_generator
from nmlab.trials.masks.topn import topn
from nmlab.trials.methods.base import About, Method, MethodConfig, Run, TrialContext, default_from
from nmlab.trials.methods.initial_masks import initial_mask


class HillClimbConfig(MethodConfig):
    steps: int = Field(default=100, ge=1, description="changes tried", json_schema_extra=default_from("ours"))
    initial_mask: str = Field(
        default="magnitude", description="where the climb begins", json_schema_extra=default_from("ours")
    )
    mutation: float = Field(
        default=0.1, ge=0, le=1, description="share of groups drawn anew", json_schema_extra=default_from("ours")
    )


class HillClimb(Method):
    name = "hill_climb"
    about = About(
        "Draws some groups of one layer anew and keeps the change where the loss of a minibatch falls.\n"
        "Forward passes only; a floor for methods that learn.",
        paper="none; a test of nmlab",
        cost="two forwards a step",
    )
    config = HillClimbConfig
    metrics = (Metric("train/accepted", "share", Direction.HIGHER),)
    learned = True
    depends_on_seed = True

    def start(self, context: TrialContext, config: HillClimbConfig) -> Run:
        return HillClimbRun(context, config)


class HillClimbRun(Run):
    def __init__(self, context: TrialContext, config: HillClimbConfig) -> None:
        self.steps = config.steps
        self._context, self._config, self._batches = context, config, context.batches
        self._masks = initial_mask(config.initial_mask, context)
        self._initial = {name: pack(mask) for name, mask in self._masks.items()}
        context.cost.trainable_params = sum(mask.numel() for mask in self._masks.values())

    def step(self, step: int) -> Mapping[str, float]:
        tokens = self._batches[step % len(self._batches)]
        name, mask = self._changed(step)
        before, after = self._loss(self._masks, tokens), self._loss({**self._masks, name: mask}, tokens)
        if after < before:
            self._masks[name] = mask
        return {"train/loss": min(before, after), "train/accepted": float(after < before)}

    def masks(self) -> dict[str, Tensor]:
        return dict(self._masks)

    def initial_masks(self) -> dict[str, Tensor]:
        return {name: unpack(bits, shape=self._masks[name].shape) for name, bits in self._initial.items()}

    def state(self) -> dict[str, Tensor]:
        return {name: mask.clone() for name, mask in self._masks.items()}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._masks = {name: state[name].clone() for name in self._masks}

    @property
    def state_bytes(self) -> int:
        return super().state_bytes + sum(bits.numel() for bits in self._initial.values())

    def _changed(self, step: int) -> tuple[str, Tensor]:
        layers, pattern = self._context.model.frozen.layers, self._context.pattern
        generator = keyed_generator(self._context.seed, step, "hill climb")
        layer = layers[int(generator.integers(len(layers)))]
        shape = (layer.out_features, layer.in_features)
        other = topn(torch.from_numpy(generator.random(shape)), pattern).view(-1, pattern.m)
        drawn = torch.from_numpy(generator.random(len(other))) < self._config.mutation
        mask = self._masks[layer.name].view(-1, pattern.m)
        return layer.name, torch.where(drawn[:, None], other.to(mask.device), mask).view(shape)

    def _loss(self, masks: Mapping[str, Tensor], tokens: Tensor) -> float:
        self._context.model.apply_masks(masks)
        self._context.cost.count_forward(tokens.numel())
        return self._context.model.loss(tokens)


METHOD = HillClimb()

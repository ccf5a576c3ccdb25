"""Base classes of runs that learn by gradient: a forward with masked weights, a backward, a step of AdamW.

Legend: G groups, M group size, W random numbers a group, O outputs, I inputs.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.engines import GroupLayout
from nmlab.trials.engines.adamw import AdamW
from nmlab.trials.masks.bits import pack, unpack
from nmlab.trials.methods.base import Run, TrialContext
from nmlab.trials.methods.training_objective.compute import training_objective
from nmlab.trials.methods.training_objective.settings import ObjectiveName
from nmlab.trials.parallel.pipeline_group import PipelineGroup


class GradientConfig(Protocol):
    """The hyperparameters that these runs have in common."""

    @property
    def steps(self) -> int: ...
    @property
    def objective(self) -> ObjectiveName: ...


class SoftMaskConfig(GradientConfig, Protocol):
    """The hyperparameters that runs with a soft mask have in common."""

    @property
    def start_pull(self) -> float: ...


class StepWeights(NamedTuple):
    """The weights of a step's forward by parameter name, and the soft mask they were made with where it is needed."""

    by_name: Mapping[str, Tensor]
    soft_GM: Tensor | None = None


class GradientRun(Run):
    """A run that takes one minibatch a step; gradients are computed for the optimiser's tensors only."""

    def __init__(self, context: TrialContext, config: GradientConfig, *, adamw: AdamW) -> None:
        self.steps = config.steps
        self._context = context
        self._batches = context.batches
        self._objective = training_objective(config.objective, context, steps=config.steps)
        self._layout = GroupLayout(context.model.frozen.layers, pattern=context.pattern)
        self._adamw = adamw
        self._steps_done = 0
        self._observed_bits = pack(self._hard_mask())
        held = sum(tensor.numel() for tensor in adamw.parameters.values())
        context.cost.trainable_params = self._pipeline.all_reduce_count(held)

    @abstractmethod
    def _weights(self, step: int) -> StepWeights:
        """Return the weights of this step's forward, differentiable in what is learned."""

    @abstractmethod
    def _learning_rate(self, step: int) -> float: ...

    @abstractmethod
    def _hard_mask(self) -> Tensor:
        """Return the mask as it stands, boolean [G, M]."""

    def _penalty(self, step: int, weights: StepWeights) -> Tensor | None:
        """Return the penalty that is added to the loss, or None."""
        return None

    def _after_update(self) -> None:
        """Hook that is called after every step of the optimiser."""

    def step(self, step: int) -> Mapping[str, float]:
        tokens, cost, device = self._batches[step % len(self._batches)], self._context.cost, self._device
        self._context.model.remove_masks()  # frees the masked weights of an evaluation
        with cost.phase("sample", device=device):
            weights = self._weights(step)
        with cost.phase("forward", device=device):
            loss = self._context.model.loss_under(weights.by_name, tokens, objective=self._objective)
            penalty = self._penalty(step, weights)
            recorded = self._checked(loss, penalty)
        for _ in range(1 + self._objective.dense_forwards):
            cost.count_forward(tokens.numel())
        with cost.phase("update", device=device):
            whole = loss if penalty is None else loss + penalty
            rate = self._learning_rate(step)
            recorded["train/gradient_norm"] = self._adamw.descend(whole, rate=rate, norm_of=self._norm)
            self._after_update()
        cost.backwards += 1
        self._steps_done = step + 1
        return recorded

    def observe(self) -> Mapping[str, float]:
        """Return the share of groups whose hard mask has changed since the previous call."""
        mask_GM = self._hard_mask().cpu()
        before_GM = unpack(self._observed_bits, shape=mask_GM.shape)
        self._observed_bits = pack(mask_GM)
        return {"train/mask_change": self._share((mask_GM != before_GM).any(dim=1))}

    def masks(self) -> dict[str, Tensor]:
        return self._layout.split(self._hard_mask())

    def state(self) -> dict[str, Tensor]:
        steps_done = torch.tensor(self._steps_done)
        return {**self._adamw.state(), "steps_done": steps_done, "observed_mask": self._observed_bits}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._adamw.load_state(state)
        self._steps_done = int(state["steps_done"])
        self._observed_bits = state["observed_mask"].clone()

    @property
    def _device(self) -> torch.device:
        return self._context.model.frozen.device

    @property
    def _last_step(self) -> int:
        """The last step taken; 0 before any."""
        return max(0, self._steps_done - 1)

    @property
    def _pipeline(self) -> PipelineGroup:
        return self._context.model.pipeline

    def _by_layer(self, tensor: Tensor) -> Sequence[Tensor]:
        """Return the parts of one of the optimiser's tensors that belong to single layers."""
        return [tensor]

    def _norm(self, tensors: Sequence[Tensor]) -> float:
        """Return the norm over all layers: one number a layer, summed exactly, so that it is equal on any stages."""
        parts = [part for tensor in tensors for part in self._by_layer(tensor)]
        norms = torch.stack([torch.linalg.vector_norm(part, dtype=torch.float64) for part in parts])
        return math.sqrt(self._pipeline.all_reduce_sum(norms.square().tolist()))

    def _over_all(self, own_L: Tensor) -> Tensor:
        """Return the sum over the layers of all pipeline stages, with the gradient of those that are held here."""
        sums = [value for of_stage in self._pipeline.all_gather(own_L.detach().tolist()) for value in of_stage]
        return own_L.new_tensor(sums).sum() + (own_L.sum() - own_L.detach().sum())

    def _mean(self, tensor: Tensor) -> float:
        """Return the mean over all layers of a tensor with numbers for each group, equal on any stages."""
        sums = torch.stack([part.sum(dtype=torch.float64) for part in self._by_layer(tensor)])
        return self._pipeline.all_reduce_sum(sums.tolist()) / self._pipeline.all_reduce_count(tensor.numel())

    def _share(self, flags_G: Tensor) -> float:
        """Return the share of all groups, or of all their entries, whose flag is set."""
        return self._pipeline.all_reduce_count(int(flags_G.sum())) / self._pipeline.all_reduce_count(flags_G.numel())

    def _checked(self, loss: Tensor, penalty: Tensor | None) -> dict[str, float]:
        """Return loss and penalty as metrics; raises ``DivergedError`` where one is not finite."""
        recorded = {"train/loss": float(loss.detach())}
        if penalty is not None:
            recorded["train/penalty"] = float(penalty.detach())
        for name, value in recorded.items():
            if not math.isfinite(value):
                raise DivergedError(f"{name.removeprefix('train/')} is {value} at step {self._steps_done}")
        return recorded


class SoftMaskRun(GradientRun):
    """A run that multiplies frozen weights by a random soft mask, computed from learned parameters and noise.

    With ``straight_through`` the forward uses the hard mask of the same draw, with the gradient of the soft mask.
    """

    def __init__(self, context: TrialContext, config: SoftMaskConfig, *, adamw: AdamW, straight_through: bool) -> None:
        super().__init__(context, config, adamw=adamw)
        self._straight_through = straight_through
        self._start_pull = config.start_pull
        self._start_bits = self._observed_bits if config.start_pull else None

    @abstractmethod
    def _noise(self, step: int) -> Tensor:
        """Return the step's random numbers [G, W]."""

    @abstractmethod
    def _soft(self, noise_GW: Tensor, step: int) -> Tensor:
        """Return the soft mask of a draw [G, M], differentiable in the parameters."""

    @abstractmethod
    def _hard(self, noise_GW: Tensor, step: int) -> Tensor:
        """Return the hard mask of a draw, boolean [G, M]: the soft mask at temperature 0."""

    @property
    def state_bytes(self) -> int:
        """Bytes of the state, and of the initial mask where the run is pulled towards it."""
        return super().state_bytes + (0 if self._start_bits is None else self._start_bits.nbytes)

    def observe(self) -> Mapping[str, float]:
        """Return also the mean distance between the last step's soft mask and the hard mask of the same draw."""
        step = self._last_step
        with torch.no_grad():
            noise_GW = self._noise(step)
            soft_GM, hard_GM = self._soft(noise_GW, step), self._hard(noise_GW, step)
        gap = self._mean((soft_GM - hard_GM.float()).abs_())
        return {**super().observe(), "train/soft_hard_gap": gap, **self._observe_soft(soft_GM)}

    def _observe_soft(self, soft_GM: Tensor) -> Mapping[str, float]:
        return {}

    def _by_layer(self, tensor: Tensor) -> Sequence[Tensor]:
        return torch.split(tensor, self._layout.groups_of_layers)

    def _weights(self, step: int) -> StepWeights:
        noise_GW = self._noise(step)
        soft_GM = mask_GM = self._soft(noise_GW, step)
        if self._straight_through:
            mask_GM = straight_through(self._hard(noise_GW, step), soft_GM=soft_GM)
        weights = self._context.model.masked_weights(self._layout.split(mask_GM))
        return StepWeights(weights, soft_GM if self._start_bits is not None else None)

    def _penalty(self, step: int, weights: StepWeights) -> Tensor | None:
        """Return the pull towards the initial mask (`start_pull`); None without one."""
        soft_GM = weights.soft_GM
        if self._start_bits is None or soft_GM is None:
            return None
        start_GM = unpack(self._start_bits, shape=soft_GM.shape).to(soft_GM)
        distances_L = [part.square().sum() for part in self._by_layer(soft_GM - start_GM)]
        layers = self._context.model.frozen.all_layers
        groups = sum(self._context.pattern.groups(layer.numel) for layer in layers)
        return self._over_all(torch.stack(distances_L)) * (self._start_pull / groups)


def straight_through(hard_GM: Tensor, *, soft_GM: Tensor) -> Tensor:
    """Return exactly ``hard_GM`` (0 and 1, the type of ``soft_GM``) with the gradient of ``soft_GM``."""
    return hard_GM.to(soft_GM.dtype) + (soft_GM - soft_GM.detach())

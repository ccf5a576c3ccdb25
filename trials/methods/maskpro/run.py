"""A run of MaskPro on one trial's view of the frozen model.

Legend: G groups, g some of them, M group size.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.contract.run_artifacts import DENSE_LOSSES, INITIAL_LOSSES, MASK_LOSSES, MASK_LOSSES_FILE
from nmlab.trials.engines import Draw, GroupLayout, MaskKey, initial_store, make_engine
from nmlab.trials.engines.mask_patcher import MaskPatcher
from nmlab.trials.masks.plackett_luce import official_score
from nmlab.trials.measure.cost import Cost
from nmlab.trials.methods.base import Arrays, Run, TrialContext
from nmlab.trials.methods.initial_masks import initial_mask, initial_mask_key
from nmlab.trials.methods.maskpro.changed_groups import ChangedGroups
from nmlab.trials.methods.maskpro.config import MaskProConfig
from nmlab.trials.methods.maskpro.mask_losses import dense_losses, mask_keys, sampled_losses
from nmlab.trials.methods.maskpro.maths import ResidualTracker, score_weights
from nmlab.trials.methods.training_objective.compute import training_objective
from nmlab.trials.parallel.mask_parallel import digest_of

# A run has collapsed when its sampled masks have been worse than uniform guessing for this many steps on average.
_COLLAPSE_WINDOW = 100
_MODES_COMPARED = 4096


class MaskProRun(Run):
    """A run of MaskPro: in each step it samples masks, evaluates their losses, and moves the logits."""

    def __init__(self, context: TrialContext, config: MaskProConfig) -> None:
        self.steps = config.steps
        self._config, self._seed = config, context.seed
        self._model, self._cost, self._evaluators = context.model, context.cost, context.evaluators
        self._batches, self._extra = context.batches, context.extra
        self._layout = GroupLayout(context.model.frozen.layers, pattern=context.pattern)
        initial_GM = self._layout.join(initial_mask(config.initial_mask, context))
        if config.masked_weights == "multiplied":
            self._model.multiply_on_the_fly(context.pattern.m)
        held_batches = config.loss_batches if config.loss_masks else 1
        self._objective = training_objective(config.objective, context, held_batches=held_batches)
        self._initial_losses = self._losses_of_initial_mask(context, initial_GM)
        store = initial_store(self._layout, initial_GM, magnitude=config.logit_magnitude, kind=config.logits)
        by_event = config.sampler == "event"
        self._engine = make_engine(
            "event" if by_event else config.engine,
            layout=self._layout,
            store=store,
            sampler="multinomial" if by_event else config.sampler,
            score=official_score if config.compat == "official" else None,
            agree=lambda faulty: self._model.pipeline.all_reduce_count(int(faulty)) > 0,
            note=context.notes.append,
        )
        self._patcher = MaskPatcher(self._model, self._engine)
        self._changed = ChangedGroups(self._engine, store.initial_G)
        self._tracker = ResidualTracker(config.alpha)
        self._recent: deque[float] = deque(maxlen=_COLLAPSE_WINDOW)
        mean_initial = sum(self._initial_losses) / len(self._initial_losses)
        self._collapsed_above = max(math.log(context.replica.frozen.vocabulary_size), mean_initial + 1.0)
        self._cost.trainable_params = sum(layer.numel for layer in context.model.frozen.all_layers)

    def step(self, step: int) -> Mapping[str, float]:
        batch = step % len(self._batches)
        draws, losses = self._sampled_losses(step, self._batches[batch])
        self._check(losses)
        initial = self._initial_losses[batch]
        weights, self._tracker = score_weights(losses, initial, tracker=self._tracker, config=self._config)
        flips = self._model.pipeline.all_reduce_count(sum(self._changed.flips(draw) for draw in draws)) / len(draws)
        with self._cost.phase("update", device=self._device):
            changed_g = self._engine.descend(draws, weights=weights, rate=self._config.learning_rate)
        self._changed.mode_changed(changed_g)
        self._patcher.mode_changed(changed_g)
        mean_loss = sum(losses) / len(losses)
        return {
            "train/loss": mean_loss,
            "train/residual": mean_loss - initial,
            "train/delta": self._tracker.value,
            "train/flips": flips,
        }

    def observe(self) -> Mapping[str, float]:
        """Return the share of groups whose most probable mask is no longer the initial one."""
        groups = sum(self._layout.pattern.groups(layer.numel) for layer in self._model.frozen.all_layers)
        return {"train/mask_change": self._model.pipeline.all_reduce_count(self._changed.count) / groups}

    def masks(self) -> dict[str, Tensor]:
        return self._layout.split(self._engine.mode())

    def initial_masks(self) -> dict[str, Tensor]:
        return self._layout.split(self._changed.initial())

    def diagnostics(self, cancelled: Callable[[], bool]) -> Mapping[str, Arrays] | None:
        """Return the losses of masks drawn from the final logits, of the initial mask, and of the dense model."""
        config = self._config
        if not config.loss_masks:
            return {}
        batches = self._batches[: config.loss_batches]
        keys = mask_keys(self._seed, masks=config.loss_masks)
        loss_KB = sampled_losses(
            self._engine,
            model=self._model,
            keys=keys,
            batches=batches,
            objective=self._objective,
            account=self._extra,
            cancelled=cancelled,
        )
        if loss_KB is None:
            return None
        initial_B = np.array(self._initial_losses[: len(batches)])
        dense_B = dense_losses(self._model, batches, objective=self._objective, account=self._extra)
        return {MASK_LOSSES_FILE: {MASK_LOSSES: loss_KB, INITIAL_LOSSES: initial_B, DENSE_LOSSES: dense_B}}

    def state(self) -> dict[str, Tensor]:
        return {
            **{f"engine/{name}": tensor for name, tensor in self._engine.state().items()},
            "tracker": torch.tensor([self._tracker.value, self._tracker.updates], dtype=torch.float64),
            "recent_losses": torch.tensor(list(self._recent), dtype=torch.float64),
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        held = {name.removeprefix("engine/"): tensor for name, tensor in state.items() if name.startswith("engine/")}
        self._engine.load_state(held)
        self._patcher = MaskPatcher(self._model, self._engine)
        self._changed.recount()
        value, updates = state["tracker"].tolist()
        self._tracker = ResidualTracker(self._config.alpha, value, int(updates))
        self._recent.extend(state["recent_losses"].tolist())

    @property
    def state_bytes(self) -> int:
        return self._engine.state_bytes + self._changed.nbytes

    @property
    def _device(self) -> torch.device:
        return self._model.frozen.device

    def _sampled_losses(self, step: int, tokens: Tensor) -> tuple[list[Draw], list[float]]:
        """Draw all masks of the step, evaluate those assigned to this slot, and return all draws and losses."""
        with self._cost.phase("sample", device=self._device):
            draws = [self._sample(MaskKey(self._seed, step, index)) for index in range(self._config.masks_per_step)]

        def evaluate(index: int) -> float:
            with self._cost.phase("patch", device=self._device):
                self._patcher.apply(draws[index])
            with self._cost.phase("forward", device=self._device):
                return self._model.loss(tokens, objective=self._objective)

        losses = self._evaluators.losses(step, len(draws), evaluate=evaluate, digest=lambda: self._digest(step, draws))
        # Forwards in other slots belong to this trial too.
        for _ in range(len(losses) + self._objective.dense_forwards):
            self._cost.count_forward(tokens.numel())
        return draws, losses

    def _digest(self, step: int, draws: list[Draw]) -> bytes:
        """Return a digest of the masks: their differences from the mode, and the modes of some groups that rotate."""
        count = min(self._layout.groups, _MODES_COMPARED)
        groups_g = torch.arange(step * count, (step + 1) * count, device=self._device) % self._layout.groups
        differences = [tensor for draw in draws for tensor in (draw.groups_g, draw.masks_gM)]
        return digest_of([self._engine.mode(groups_g), *differences])

    def _sample(self, key: MaskKey) -> Draw:
        if self._config.compat == "official" and key.step == 0:
            # The authors' first forward sees m_0 itself, the mode of the initial logits.
            none_g = torch.empty(0, dtype=torch.int64, device=self._device)
            return Draw(key, none_g, self._engine.mode(none_g))
        return self._engine.sample(key)

    def _check(self, losses: list[float]) -> None:
        if not all(math.isfinite(loss) for loss in losses):
            raise DivergedError(f"a sampled mask has the loss {next(x for x in losses if not math.isfinite(x))}")
        self._recent.extend(losses)
        if len(self._recent) == _COLLAPSE_WINDOW and sum(self._recent) / _COLLAPSE_WINDOW > self._collapsed_above:
            raise DivergedError(
                f"sampled masks lose {sum(self._recent) / _COLLAPSE_WINDOW:.2f} nats a token over the last "
                f"{_COLLAPSE_WINDOW} losses, worse than guessing ({self._collapsed_above:.2f}); "
                "lower learning_rate or raise logit_magnitude"
            )

    def _losses_of_initial_mask(self, context: TrialContext, initial_GM: Tensor) -> list[float]:
        """Return f(m_0) of every minibatch; all trials that start from the same mask on the same text share them."""

        def compute(account: Cost) -> list[float]:
            self._model.apply_masks(self._layout.split(initial_GM))
            for tokens in self._batches * (1 + self._objective.dense_forwards):
                account.count_forward(tokens.numel())
            return [self._model.loss(tokens, objective=self._objective) for tokens in self._batches]

        name = self._config.objective
        key = ("initial losses", name, *initial_mask_key(self._config.initial_mask, context))
        return context.share(key, compute, initial=True)

"""A run of MaskPro on one trial's view of the frozen model.

Legend: G groups, g some of them, M group size.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from nmlab.trials.contract.errors import DivergedError
from nmlab.trials.contract.run_artifacts import DENSE_LOSSES, INITIAL_LOSSES, MASK_LOSSES, MASK_LOSSES_FILE
from nmlab.trials.engines import Draw, GroupLayout, LogitStore, MaskKey, make_engine
from nmlab.trials.masks.codes import decode
from nmlab.trials.masks.plackett_luce import official_score
from nmlab.trials.measure.cost import Cost
from nmlab.trials.methods.base import Arrays, Run, TrialContext
from nmlab.trials.methods.initial_masks import initial_mask_key
from nmlab.trials.methods.maskpro.changed_groups import ChangedGroups
from nmlab.trials.methods.maskpro.config import MaskProConfig
from nmlab.trials.methods.maskpro.mask_losses import dense_losses, mask_keys, sampled_losses
from nmlab.trials.methods.maskpro.maths import (
    ResidualSpread,
    ResidualTracker,
    residuals_of,
    score_weights,
    variance_of,
)
from nmlab.trials.methods.maskpro.rates import LearningRates, effective_steps
from nmlab.trials.methods.maskpro.start import first_store, resampled_share
from nmlab.trials.methods.maskpro.step_losses import (
    LossesOnBatch,
    LossesOnSequences,
    StepLosses,
    batch_loss,
    losses_by_sequence,
)
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
        self._by_sequence = config.mask_per == "sequence"
        self._masks = max(map(len, self._batches)) if self._by_sequence else config.masks_per_step
        self._layout = GroupLayout(context.model.frozen.layers, pattern=context.pattern)
        if config.masked_weights == "multiplied":
            self._model.multiply_on_the_fly(context.pattern.m)
        held_batches = config.loss_batches if config.loss_masks else 1
        self._objective = training_objective(config.objective, context, held_batches=held_batches)
        store = first_store(context, config, layout=self._layout)
        self._initial_losses = self._losses_of_initial_mask(context, decode(store.initial_G, context.pattern.m))
        self._rates = self._learning_rates(store)
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
        self._step_losses = self._begin_losses()
        self._changed = ChangedGroups(self._engine, store.initial_G)
        self._tracker, self._spread = ResidualTracker(config.alpha), ResidualSpread()
        self._recent: deque[float] = deque(maxlen=_COLLAPSE_WINDOW)
        means = list(map(_mean, self._initial_losses))
        self._collapsed_above = max(math.log(context.replica.frozen.vocabulary_size), _mean(means) + 1.0)
        self._cost.trainable_params = sum(layer.numel for layer in context.model.frozen.all_layers)

    def step(self, step: int) -> Mapping[str, float]:
        batch = step % len(self._batches)
        draws, losses = self._sampled_losses(step, self._batches[batch])
        self._check(losses)
        initial = self._initial_losses[batch]
        rate = self._rates.at(step, masks=len(draws), sigma=self._spread.sigma)
        weights = self._weights(losses, initial if self._by_sequence else initial * len(losses))
        flips = self._model.pipeline.all_reduce_count(sum(self._changed.flips(draw) for draw in draws)) / len(draws)
        with self._cost.phase("update", device=self._device):
            changed_g = self._engine.descend(draws, weights=weights, rate=rate)
        self._changed.mode_changed(changed_g)
        self._step_losses.mode_changed(changed_g)
        mean_loss = _mean(losses)
        return {
            "train/loss": mean_loss,
            "train/residual": mean_loss - _mean(initial),
            "train/delta": self._tracker.value,
            "train/flips": flips,
            **({"train/learning_rate": rate} if self._rates.vary else {}),
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
        initial_B = np.array([_mean(losses) for losses in self._initial_losses[: len(batches)]])
        dense_B = dense_losses(self._model, batches, objective=self._objective, account=self._extra)
        return {MASK_LOSSES_FILE: {MASK_LOSSES: loss_KB, INITIAL_LOSSES: initial_B, DENSE_LOSSES: dense_B}}

    def state(self) -> dict[str, Tensor]:
        spread = {"spread": self._spread} if self._config.walk_rate is not None else {}
        averages: dict[str, ResidualTracker | ResidualSpread] = {"tracker": self._tracker, **spread}
        return {
            **{f"engine/{name}": tensor for name, tensor in self._engine.state().items()},
            **{name: torch.tensor([own.value, own.updates], dtype=torch.float64) for name, own in averages.items()},
            "recent_losses": torch.tensor(list(self._recent), dtype=torch.float64),
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        held = {name.removeprefix("engine/"): tensor for name, tensor in state.items() if name.startswith("engine/")}
        self._engine.load_state(held)
        self._step_losses = self._begin_losses()
        self._changed.recount()
        value, updates = state["tracker"].tolist()
        self._tracker = ResidualTracker(self._config.alpha, value, int(updates))
        if "spread" in state:
            value, updates = state["spread"].tolist()
            self._spread = ResidualSpread(value, int(updates))
        self._recent.extend(state["recent_losses"].tolist())

    @property
    def state_bytes(self) -> int:
        return self._engine.state_bytes + self._changed.nbytes

    @property
    def _device(self) -> torch.device:
        return self._model.frozen.device

    def _sampled_losses(self, step: int, tokens_KT: Tensor) -> tuple[list[Draw], list[float]]:
        """Draw all masks of the step, evaluate those assigned to this slot, and return all draws and losses."""
        count = len(tokens_KT) if self._by_sequence else self._masks
        with self._cost.phase("sample", device=self._device):
            draws = [self._sample(MaskKey(self._seed, step, index)) for index in range(count)]
        loss_of = self._step_losses.of(draws, tokens_KT)

        def evaluate(index: int) -> float:
            return loss_of(index) if index < count else 0.0

        # Peers agree once on the number of masks of a step; a smaller last minibatch has losses of none at its end.
        losses = self._evaluators.losses(
            step, self._masks, evaluate=evaluate, digest=lambda: self._digest(step, draws)
        )[:count]
        # Forwards in other slots belong to this trial too.
        for _ in range((1 if self._by_sequence else count) + self._objective.dense_forwards):
            self._cost.count_forward(tokens_KT.numel())
        return draws, losses

    def _weights(self, losses: list[float], initial: list[float]) -> list[float]:
        """Return the weights of the step's scores, and update the averages over steps."""
        variance = variance_of(residuals_of(losses, initial), tracker=self._tracker)
        weights, self._tracker = score_weights(losses, initial, tracker=self._tracker, config=self._config)
        if variance is not None:
            self._spread = self._spread.updated(variance)
        return weights

    def _begin_losses(self) -> StepLosses:
        losses = LossesOnSequences if self._by_sequence else LossesOnBatch
        return losses(self._model, self._engine, objective=self._objective, cost=self._cost)

    def _learning_rates(self, store: LogitStore) -> LearningRates:
        config = self._config
        if config.walk_rate is None:
            return LearningRates(config)
        resampled = resampled_share(store, layout=self._layout, pipeline=self._model.pipeline)
        effective = effective_steps(config.learning_rate_schedule, steps=config.steps)
        return LearningRates(config, resampled, effective)

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

    def _losses_of_initial_mask(self, context: TrialContext, initial_GM: Tensor) -> list[list[float]]:
        """Return f(m_0) of every minibatch, in whole or by sequence, for one forward each.

        All trials that start from the same mask on the same text share them.
        """
        config = self._config
        measure = losses_by_sequence if self._by_sequence else batch_loss

        def compute(account: Cost) -> list[list[float]]:
            self._model.apply_masks(self._layout.split(initial_GM))
            for tokens_KT in self._batches * (1 + self._objective.dense_forwards):
                account.count_forward(tokens_KT.numel())
            return [measure(self._model, tokens_KT, objective=self._objective) for tokens_KT in self._batches]

        # Rounding of logits may decide between equal scores.
        magnitude = None if config.initial_logits == "constant" else config.logit_magnitude
        key = ("initial losses", config.objective, config.mask_per, config.initial_logits, magnitude)
        return context.share((*key, *initial_mask_key(config.initial_mask, context)), compute, initial=True)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

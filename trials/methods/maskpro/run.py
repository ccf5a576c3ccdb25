"""A run of MaskPro on one trial's view of the frozen model.

Legend: G groups, M group size, O outputs, I inputs.
"""

import math
from collections import deque
from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from nmlab.trials.engines import GroupLayout, LinearEngine
from nmlab.trials.errors import DivergedError
from nmlab.trials.initial_masks import available, initial_mask, initial_mask_key
from nmlab.trials.masks.plackett_luce import official_score, score
from nmlab.trials.method import About, Method, Run, Setting
from nmlab.trials.methods.maskpro.config import MaskProConfig
from nmlab.trials.methods.maskpro.maths import Tracker, score_weights
from nmlab.trials.names import unknown_name
from nmlab.trials.pattern import Pattern

# A run has collapsed when its sampled masks have been worse than uniform guessing for this many steps on average.
_COLLAPSE_WINDOW = 100


class MaskPro(Method):
    name = "maskpro"
    about = About(
        "Learns logits of every weight by policy gradient on whole-model losses, with forward passes only.\n"
        "The score of each sampled mask is weighted by its loss residual against the initial mask, less a tracker.",
        paper="Sun et al. 2025, MaskPro (Algorithm 1)",
        cost="one forward a mask and step; one logit a weight",
    )
    config = MaskProConfig
    learned = True
    depends_on_seed = True

    def refuse(self, pattern: Pattern, config: MaskProConfig) -> str | None:
        if config.initial_mask not in available():
            return unknown_name(config.initial_mask, kind="initial_mask", known=available())
        if config.compat == "official" and pattern != Pattern(2, 4):
            return f"compat: official exists for 2:4 only (the authors' code has no other), not for {pattern}"
        return None

    def start(self, setting: Setting, config: MaskProConfig) -> Run:
        return MaskProRun(setting, config)


class MaskProRun(Run):
    """Sample a mask, read its loss, move the logits."""

    def __init__(self, setting: Setting, config: MaskProConfig) -> None:
        self.steps = config.steps
        self._config = config
        self._model, self._cost = setting.model, setting.cost
        self._batches = setting.batches
        self._layout = GroupLayout(setting.model.frozen.layers, pattern=setting.pattern)
        self._initial_GM = self._layout.join(initial_mask(config.initial_mask, setting))
        self._initial_losses = self._losses_of_initial_mask(setting)
        self._engine = LinearEngine(
            self._layout,
            logits_GM=self._initial_GM * config.logit_magnitude,
            seed=setting.seed,
            sampler=config.sampler,
            score=official_score if config.compat == "official" else partial(score, n=setting.pattern.n),
        )
        self._tracker = Tracker(config.alpha)
        self._recent: deque[float] = deque(maxlen=_COLLAPSE_WINDOW)
        mean_initial = sum(self._initial_losses) / len(self._initial_losses)
        self._collapsed_above = max(math.log(setting.bench.frozen.vocabulary_size), mean_initial + 1.0)
        self._cost.trainable_params = self._engine.logits_GM.numel()

    def step(self, step: int) -> Mapping[str, float]:
        batch = step % len(self._batches)
        masks_GM, losses = self._sampled_losses(step, self._batches[batch])
        self._check(losses)
        initial = self._initial_losses[batch]
        weights, self._tracker = score_weights(losses, initial, tracker=self._tracker, config=self._config)
        with self._cost.phase("update", device=self._device):
            self._engine.descend(masks_GM, weights=weights, rate=self._config.learning_rate)
            flips = sum(self._changed_groups(mask_GM) for mask_GM in masks_GM) / len(masks_GM)
        mean_loss = sum(losses) / len(losses)
        return {
            "train/loss": mean_loss,
            "train/residual": mean_loss - initial,
            "train/delta": self._tracker.value,
            "train/flips": flips,
        }

    def observe(self) -> Mapping[str, float]:
        """Share of groups whose most probable mask is no longer the initial one, and how far the logits have moved."""
        moved_GM = self._engine.logits_GM - self._initial_GM * self._config.logit_magnitude
        return {
            "train/mask_change": self._changed_groups(self._engine.mode()) / self._layout.groups,
            "train/logit_move_max": float(moved_GM.abs().max()),
        }

    def masks(self) -> dict[str, Tensor]:
        return self._layout.split(self._engine.mode())

    def initial_masks(self) -> dict[str, Tensor]:
        return self._layout.split(self._initial_GM)

    def state(self) -> dict[str, Tensor]:
        return {
            "logits": self._engine.logits_GM,
            "tracker": torch.tensor([self._tracker.value, self._tracker.updates], dtype=torch.float64),
            "recent_losses": torch.tensor(list(self._recent), dtype=torch.float64),
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._engine.logits_GM.copy_(state["logits"])
        value, updates = state["tracker"].tolist()
        self._tracker = Tracker(self._config.alpha, value, int(updates))
        self._recent.extend(state["recent_losses"].tolist())

    @property
    def state_bytes(self) -> int:
        return super().state_bytes + self._initial_GM.numel() * self._initial_GM.element_size()

    @property
    def _device(self) -> torch.device:
        return self._engine.logits_GM.device

    def _sampled_losses(self, step: int, tokens: Tensor) -> tuple[list[Tensor], list[float]]:
        masks_GM, losses = [], []
        for index in range(self._config.masks_per_step):
            with self._cost.phase("sample", device=self._device):
                mask_GM = self._sample(step, index)
                self._model.wear(self._layout.split(mask_GM))
            with self._cost.phase("forward", device=self._device):
                losses.append(self._model.loss(tokens))
            self._cost.count_forward(tokens.numel())
            masks_GM.append(mask_GM)
        return masks_GM, losses

    def _sample(self, step: int, index: int) -> Tensor:
        if self._config.compat == "official" and step == 0:
            return self._initial_GM  # the authors' first forward sees m_0 itself
        return self._engine.sample(step=step, index=index)

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

    def _changed_groups(self, mask_GM: Tensor) -> int:
        return int((mask_GM != self._initial_GM).any(dim=1).sum())

    def _losses_of_initial_mask(self, setting: Setting) -> list[float]:
        """f(m_0) of every minibatch; all trials that start from the same mask on the same text share them."""

        def compute() -> list[float]:
            self._model.wear(self._layout.split(self._initial_GM))
            return [self._model.loss(tokens) for tokens in self._batches]

        key = ("initial losses", *initial_mask_key(self._config.initial_mask, setting))
        return setting.bench.once(key, compute)


METHOD = MaskPro()

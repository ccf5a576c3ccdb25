"""first_order on a whole model: the gradient at the expected mask of a start, and the line search along it.

Legend: G groups of one layer, M group size, O outputs, I inputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nmlab.trials.contract.pattern import Pattern
from nmlab.trials.contract.run_artifacts import LINE_SEARCH_FILE, LINE_SEARCH_LOSSES, STEP_SIZES
from nmlab.trials.inputs.mask_gradient import mask_gradient
from nmlab.trials.masks.entropic import entropic_topn
from nmlab.trials.masks.topn import topn
from nmlab.trials.measure.cost import Cost
from nmlab.trials.methods.base import Arrays, TrialContext
from nmlab.trials.methods.first_order.config import FirstOrderConfig
from nmlab.trials.methods.first_order.maths import (
    least,
    scaled_gradient,
    scores_of_logits,
    shifted_logits,
    split_minibatches,
    step_sizes,
)
from nmlab.trials.methods.initial_logits.compute import group_scores
from nmlab.trials.methods.initial_logits.maths import logits_of_scores
from nmlab.trials.methods.initial_masks import initial_mask_key
from nmlab.trials.methods.one_shot import OneShotRun


@dataclass(frozen=True, eq=False)
class Corrected:
    """What the line search found, shared by the trials that ask for it.

    ``scores`` are those of the best step, float32 [out, in] by layer in host memory; ``kappas`` the steps that were
    tried, and ``losses`` their mean losses in nats a token.
    """

    scores: Mapping[str, Tensor]
    kappas: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def kappa(self) -> float:
        """The step that was taken."""
        return self.kappas[least(self.losses)]


class FirstOrderRun(OneShotRun):
    """A run whose masks are the N largest of the corrected scores of every M."""

    def __init__(self, context: TrialContext, config: FirstOrderConfig) -> None:
        found, device = _corrected(context, config), context.model.frozen.device
        self._kappas, self._losses = found.kappas, found.losses
        if found.kappa == 0:
            context.notes.append(
                f"no step along the gradient lowered the loss, so this is the mask of {config.initial_mask}"
            )
        super().__init__({name: topn(score_OI.to(device), context.pattern) for name, score_OI in found.scores.items()})

    def diagnostics(self, cancelled: Callable[[], bool]) -> Mapping[str, Arrays]:
        """Return the step sizes that were tried, and their losses."""
        return {LINE_SEARCH_FILE: {STEP_SIZES: np.array(self._kappas), LINE_SEARCH_LOSSES: np.array(self._losses)}}


def corrected_scores(context: TrialContext, config: FirstOrderConfig) -> dict[str, Tensor]:
    """Return the scores by which the masks are chosen, float32 [out, in] by layer, in host memory."""
    return dict(_corrected(context, config).scores)


def _corrected(context: TrialContext, config: FirstOrderConfig) -> Corrected:
    """Return what is found once for all trials with these settings; each is charged for it, and for the start."""
    start = group_scores(config.initial_mask, context)
    key = ("first order", config, *initial_mask_key(config.initial_mask, context))
    return context.share(key, lambda cost: _Search(context, config, start).found(cost))


class _Search:
    """The gradient at the expected mask of a start, and the masks on the line along it."""

    def __init__(self, context: TrialContext, config: FirstOrderConfig, start: Mapping[str, Tensor]) -> None:
        self._context, self._config, self._start = context, config, start
        self._model, self._device = context.model, context.model.frozen.device
        m = context.pattern.m
        self._logits_GM = {
            name: logits_of_scores(start_OI.to(self._device).view(-1, m)) for name, start_OI in start.items()
        }

    def found(self, cost: Cost) -> Corrected:
        """Return the best point of the line; passes are counted in ``cost``."""
        config, batches = self._config, self._context.batches
        read, searched = split_minibatches(
            len(batches), gradient=config.gradient_batches, search=config.line_search_batches
        )
        gradient_GM = self._gradient(batches[:read], cost=cost)
        kappas = step_sizes(config.kappa_max, count=config.kappa_count)
        losses = tuple(self._loss(gradient_GM, kappa, batches[-searched:], cost=cost) for kappa in kappas)
        self._model.remove_masks()
        kappa = kappas[least(losses)]
        scores = {name: self._scores(name, gradient_GM, kappa).cpu() for name in self._start}
        return Corrected(scores, kappas, losses)

    def _gradient(self, batches: Sequence[Tensor], *, cost: Cost) -> dict[str, Tensor]:
        """Return the scaled gradient at the expected mask, [G, M] by layer."""
        pattern, temperature = self._context.pattern, self._config.gradient_tau
        expected = (
            (name, _expected(logits_GM, pattern, temperature=temperature).view_as(self._start[name]))
            for name, logits_GM in self._logits_GM.items()
        )
        gradients = mask_gradient(self._model, expected, batches, cost=cost)
        scale, m = self._config.gradient_scale, pattern.m
        return {name: scaled_gradient(gradients.pop(name).view(-1, m), scale) for name in self._start}

    def _loss(self, gradient_GM: Mapping[str, Tensor], kappa: float, batches: Sequence[Tensor], *, cost: Cost) -> float:
        """Return the mean loss of the mask after a step of size ``kappa``."""
        for name in self._start:  # layer by layer, because the scores of all at once would take as much as the model
            score_OI = self._scores(name, gradient_GM, kappa)
            self._model.apply_masks({name: topn(score_OI, self._context.pattern)})
        losses = []
        for tokens in batches:
            losses.append(self._model.loss(tokens))
            cost.count_forward(tokens.numel())
        return sum(losses) / len(losses)

    def _scores(self, name: str, gradient_GM: Mapping[str, Tensor], kappa: float) -> Tensor:
        """Return the scores of a layer after a step; without one they are those of the start."""
        start_OI = self._start[name]
        if kappa == 0:
            return start_OI.to(self._device)
        shifted_GM = shifted_logits(self._logits_GM[name], gradient_GM[name], kappa=kappa)
        return scores_of_logits(shifted_GM).view_as(start_OI)


@torch.no_grad()
def _expected(logits_GM: Tensor, pattern: Pattern, *, temperature: float) -> Tensor:
    """Return the expected mask of a layer, float32 [G, M]: the soft top-N of the logits, at 0 the hard one."""
    if temperature == 0:
        return topn(logits_GM, pattern).float()
    return entropic_topn(logits_GM, tau=temperature, n=pattern.n)

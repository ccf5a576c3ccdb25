"""The masked model: a trial's view of a frozen model that shares every tensor but the masked weights.

Legend: B batch, b part of it, T tokens, P losses of a sequence, V vocabulary, O outputs, I inputs, g some groups of a
layer, M group size.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from nmlab.trials.models.chunked import chunked_mean
from nmlab.trials.models.frozen import FrozenModel
from nmlab.trials.models.hooks import PipelineHooks
from nmlab.trials.models.masked_weight import CopiedWeight, MaskedWeight, MultipliedWeight, computes_plainly
from nmlab.trials.models.sequences import LayerDeviations, Way, are_independent, masked_by_sequence
from nmlab.trials.models.training_objective import NEXT_TOKEN, TrainingObjective
from nmlab.trials.parallel.pipeline_group import SINGLE_PROCESS, PipelineGroup

T = TypeVar("T")


class MaskedModel:
    """A view of a frozen model with masks applied.

    Weights are masked when the mask changes and not in the forward, so a forward costs as much as a dense one, and a
    trial holds its own copy of the prunable weights; ``multiply_on_the_fly`` makes the opposite choice.
    """

    def __init__(self, frozen: FrozenModel, *, pipeline: PipelineGroup = SINGLE_PROCESS) -> None:
        self.frozen, self.pipeline = frozen, pipeline
        self.module = frozen.view()
        self.hooks = None if frozen.stage is None else PipelineHooks(self.module, stage=frozen.stage, pipeline=pipeline)
        self._dense = {layer.name: _linear(frozen.module, layer.name).weight for layer in frozen.layers}
        self._layers = {layer.name: layer for layer in frozen.layers}
        self._codes_of: int | None = None
        self._masked: dict[str, MaskedWeight] = {}
        self.micro_batch: int | None = None
        """How many sequences of a minibatch go through the model at once; None means all. It changes rounding only."""
        self.patches: object | None = None
        """The state of the mask patcher; reset to None when masks are replaced as a whole."""

    @property
    def bytes(self) -> int:
        """Bytes of the weights or masks that belong to this view alone."""
        return sum(masked_weight.bytes for masked_weight in self._masked.values())

    def multiply_on_the_fly(self, m: int) -> None:
        """Hold masks only (one code for ``m`` inputs) and compute each masked weight in every forward.

        A layer that the model does not call, or that has a forward of its own, still holds its masked weight.
        """
        self.remove_masks()
        self._codes_of = m

    @torch.no_grad()
    def apply_masks(self, masks_OI: Mapping[str, Tensor], *, weights_OI: Mapping[str, Tensor] | None = None) -> None:
        """Replace the weight of each named layer by dense weight times mask (boolean [out, in]).

        Where ``weights_OI`` has a weight for the layer, that one is masked in place of the dense one.
        """
        self.patches = None
        for name, mask_OI in masks_OI.items():
            if name not in self._masked:
                self._masked[name] = self._masked_weight(name)
            self._masked[name].apply((weights_OI or {}).get(name, self._dense[name]), mask_OI)

    def _masked_weight(self, name: str) -> MaskedWeight:
        layer = self._layers[name]
        found = {id(linear): linear for linear in (_linear(self.module, each) for each in (name, *layer.aliases))}
        linears = list(found.values())
        if self._codes_of is None or not layer.is_called or not all(map(computes_plainly, linears)):
            return CopiedWeight(linears)
        return MultipliedWeight(linears, m=self._codes_of)

    @torch.no_grad()
    def patch(self, name: str, groups_g: Tensor, masks_gM: Tensor) -> None:
        """Change the mask of some groups of a layer that has a mask applied.

        ``groups_g`` int64 without repeats numbers groups of M inputs row by row; ``masks_gM`` is boolean.
        """
        self._masked[name].patch(groups_g, masks_gM)

    def remove_masks(self) -> None:
        """Restore the dense weights and free the masked ones."""
        self.patches = None
        for masked_weight in self._masked.values():
            masked_weight.restore()
        self._masked.clear()

    @torch.no_grad()
    def map_logits(self, tokens_BT: Tensor, read: Callable[[Tensor], T]) -> T:
        """Return ``read`` of the logits [B, T, V]; in a pipeline group the last rank computes and broadcasts it."""
        logits_BTV = self.module(input_ids=tokens_BT.to(self.frozen.device), use_cache=False).logits
        return self.pipeline.broadcast_from_last(lambda: read(logits_BTV))

    def loss(self, tokens_BT: Tensor, *, objective: TrainingObjective = NEXT_TOKEN) -> float:
        """Return the mean of ``token_losses``, by default over all B*(T-1) predictions."""
        if len(self._parts(tokens_BT)) > 1:
            return float(self.token_losses(tokens_BT, objective=objective).mean())
        losses_of = objective.losses_of(tokens_BT)
        return self.map_logits(tokens_BT, lambda logits_BTV: float(losses_of(logits_BTV).mean()))

    def token_losses(self, tokens_BT: Tensor, *, objective: TrainingObjective = NEXT_TOKEN) -> Tensor:
        """Return the loss in nats of each prediction, [B, P], float32, on the CPU.

        By default the next-token cross-entropy, [B, T-1]; any other ``objective`` has its own losses of a sequence.
        """

        def read(part_bT: Tensor) -> Tensor:
            losses_of = objective.losses_of(part_bT)
            return self.map_logits(part_bT, lambda logits_bTV: losses_of(logits_bTV).cpu())

        losses = [read(part_bT) for part_bT in self._parts(tokens_BT)]
        return losses[0] if len(losses) == 1 else torch.cat(losses)

    def sequence_losses(
        self,
        tokens_KT: Tensor,
        deviations: Mapping[str, LayerDeviations],
        *,
        way: Way | None = None,
        objective: TrainingObjective = NEXT_TOKEN,
    ) -> list[float]:
        """Return the loss of each sequence in nats a prediction, under masks of its own, from one forward of all.

        The masks of sequence k are those applied to the model, but for the groups in ``deviations``, by layer. Each
        loss is that of a forward of its sequence alone with its masks, up to rounding (1e-5 relative in float32).
        ``way`` is how every layer computes them; None chooses by layer, see `Way`. Only for a model for which
        `computes_sequences_apart`.
        """

        losses_of = objective.losses_of(tokens_KT)

        def read(logits_KTV: Tensor) -> list[float]:
            losses: list[float] = losses_of(logits_KTV).mean(1).tolist()
            return losses

        with masked_by_sequence(self._masked, deviations, tokens=tokens_KT.shape[1], way=way):
            return self.map_logits(tokens_KT, read)

    def computes_sequences_apart(self) -> bool:
        """Return whether layers can apply other masks to each sequence: all stages agree, and only the model counts.

        They cannot where the model takes a weight without calling its layer, where the layer has a forward of its own,
        and where its inputs are not those of the sequences in turn, as in experts that get routed tokens.
        """
        dense = MaskedModel(self.frozen, pipeline=self.pipeline)
        linears = [_linear(dense.module, name) for layer in self.frozen.layers for name in (layer.name, *layer.aliases)]
        distinct = list({id(linear): linear for linear in linears}.values())

        def run(tokens_KT: Tensor) -> None:
            dense.map_logits(tokens_KT, lambda _: None)

        apart = are_independent(run, distinct, vocabulary=self.frozen.vocabulary_size)
        plain = all(layer.is_called for layer in self.frozen.layers) and all(map(computes_plainly, distinct))
        return self.pipeline.all_reduce_count(int(not (apart and plain))) == 0

    def masked_weights(self, masks_OI: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return dense weight times mask (any real numbers [out, in] by layer) under the names of the parameters.

        Differentiable in the masks. The product is taken in float32 and has the model's type.
        """
        return {
            f"{name}.weight": (self._dense[name] * mask_OI.float()).to(self._dense[name].dtype)
            for name, mask_OI in masks_OI.items()
        }

    def loss_under(
        self, weights: Mapping[str, Tensor], tokens_BT: Tensor, *, objective: TrainingObjective = NEXT_TOKEN
    ) -> Tensor:
        """Return what ``loss`` returns, as a scalar that is differentiable in ``weights``.

        For this forward ``weights`` replace the parameters of the same qualified names. The other parameters are those
        of the frozen model, or masked weights, and get no gradient.
        """
        parts = self._parts(tokens_BT)
        if len(parts) == 1:
            return self._mean_loss(weights, parts[0], objective)
        predictions = tokens_BT.shape[0] * objective.losses_in(tokens_BT.shape[1])

        def summed(by: Mapping[str, Tensor], part_bT: Tensor) -> Tensor:
            losses_of = objective.losses_of(part_bT)
            return losses_of(self._logits_under(by, part_bT)).sum()

        assert self.hooks is None, "a pipeline group takes a minibatch as a whole"
        return chunked_mean(summed, weights, parts, predictions=predictions)

    def _mean_loss(self, weights: Mapping[str, Tensor], tokens_BT: Tensor, objective: TrainingObjective) -> Tensor:
        losses_of = objective.losses_of(tokens_BT)
        logits_BTV = self._logits_under(weights, tokens_BT)

        def loss() -> Tensor:
            return losses_of(logits_BTV).mean()

        return loss() if self.hooks is None else self.hooks.loss(loss)

    def _logits_under(self, weights: Mapping[str, Tensor], tokens_BT: Tensor) -> Tensor:
        arguments = {"input_ids": tokens_BT, "use_cache": False}
        logits_BTV: Tensor = torch.func.functional_call(self.module, dict(weights), kwargs=arguments).logits
        return logits_BTV

    def _parts(self, tokens_BT: Tensor) -> tuple[Tensor, ...]:
        return torch.split(tokens_BT.to(self.frozen.device), self.micro_batch or len(tokens_BT))


def _linear(module: nn.Module, name: str) -> nn.Linear:
    linear = module.get_submodule(name)
    assert isinstance(linear, nn.Linear)
    return linear

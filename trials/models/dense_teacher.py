"""The dense model as the teacher of its masked forms: its predictions, kept in memory or computed again.

Legend: B sequences of a minibatch, b of them in a part, T tokens, V vocabulary.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nmlab.trials.models.masked import MaskedModel

KEPT_BYTES = 2**30
"""The most bytes of predictions that are kept for one calibration text. It is a constant, and no property of the
machine, so that the cost of a trial is the same everywhere."""
FLOAT32 = 4


def predictions_bytes(*, tokens: int, vocabulary: int) -> int:
    """Return the bytes of the log-probabilities of all next tokens after ``tokens`` tokens."""
    return FLOAT32 * tokens * vocabulary


def are_kept(*, tokens: int, vocabulary: int) -> bool:
    """Return whether the predictions after all ``tokens`` tokens of a calibration text are kept in memory."""
    return predictions_bytes(tokens=tokens, vocabulary=vocabulary) <= KEPT_BYTES


class DenseTeacher:
    """Gives the dense model's log-probabilities on the sequences of fixed minibatches.

    They are always those of the same forward, of one part of a minibatch, whichever of its sequences are asked for and
    whether they are kept, held or computed again: the values are equal bit for bit.

    Args:
        model: a view of the frozen model that no mask is ever applied to.
        batches: the minibatches, int64 [B, T].
        at_once: sequences of a minibatch that go through the model at once.
        held_batches: how many minibatches, the last ones asked for, are held between two calls of
            ``log_probabilities``; those of ``keep`` are held for good.
    """

    def __init__(
        self, model: MaskedModel, batches: Sequence[Tensor], *, at_once: int | None, held_batches: int = 0
    ) -> None:
        self._model = model
        self._parts_of = [torch.split(tokens_BT, at_once or len(tokens_BT)) for tokens_BT in batches]
        numbered = [(batch, part) for batch, parts in enumerate(self._parts_of) for part in range(len(parts))]
        self._place: dict[bytes, tuple[int, int, int]] = {}
        for batch, part in numbered:
            for row, sequence_T in enumerate(self._parts_of[batch][part]):
                self._place.setdefault(_key(sequence_T), (batch, part, row))
        self._kept: Mapping[int, Sequence[Tensor | None]] = {}
        self._held: OrderedDict[tuple[int, int], Tensor | None] = OrderedDict()
        self._most_held = held_batches * max(map(len, self._parts_of))

    def compute(self, batch: int) -> list[Tensor | None]:
        """Return the predictions of a minibatch by its parts, in host memory; None on ranks without the logits."""
        found = (self._forward(part_bT) for part_bT in self._parts_of[batch])
        return [None if each_bTV is None else each_bTV.cpu() for each_bTV in found]

    def keep(self, predictions: Mapping[int, Sequence[Tensor | None]]) -> None:
        """Use these predictions, as ``compute`` returned them, by the number of the minibatch."""
        self._kept = predictions

    def log_probabilities(self, tokens_bT: Tensor) -> Tensor | None:
        """Return the log-probabilities of the next token after each token, [b, T, V] float32, on the model's device.

        None on the ranks of a pipeline group that have no logits; all ranks must call this.
        """
        places = [self._place[_key(sequence_T)] for sequence_T in tokens_bT]
        parts = list(dict.fromkeys(place[:2] for place in places))
        found = {at: self._predictions(*at) for at in parts}
        if any(each_bTV is None for each_bTV in found.values()):
            return None
        batch, part = parts[0]
        if places == [(batch, part, row) for row in range(len(self._parts_of[batch][part]))]:
            return found[batch, part]
        return torch.stack([_row(found[batch, part], row) for batch, part, row in places])

    def _predictions(self, batch: int, part: int) -> Tensor | None:
        if batch in self._kept:
            kept_bTV = self._kept[batch][part]
            return None if kept_bTV is None else kept_bTV.to(self._model.frozen.device)
        if (batch, part) in self._held:
            self._held.move_to_end((batch, part))
            return self._held[batch, part]
        computed_bTV = self._forward(self._parts_of[batch][part])
        self._held[batch, part] = computed_bTV
        while len(self._held) > self._most_held:
            self._held.popitem(last=False)
        return computed_bTV

    def _forward(self, part_bT: Tensor) -> Tensor | None:
        """Run the dense model; on the last rank of a pipeline group, return its log-probabilities."""
        found: list[Tensor] = []

        def read(logits_bTV: Tensor) -> None:
            found.append(logits_bTV.float().log_softmax(dim=-1))

        self._model.map_logits(part_bT, read)
        return found[0] if found else None


def _key(sequence_T: Tensor) -> bytes:
    return sequence_T.cpu().numpy().tobytes()


def _row(part_bTV: Tensor | None, row: int) -> Tensor:
    assert part_bTV is not None
    return part_bTV[row]

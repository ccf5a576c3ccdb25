"""Correct the product of all sequences with the applied weights to that of each sequence with its own weights.

The two weights of a layer differ in a few entries of a few rows. Each output that differs is a sum over the entries of
its row, so the entries are laid out in slots: slot 0 has the first entry of every row, slot 1 the second entry of the
rows that have two, and so on. With the rows in descending order of their number of entries every slot is a prefix of
the rows, and the sums are additions of prefixes. Nothing is added to one place by two threads, so that the order of
additions, and with it the rounding, is the same in every run.

Legend: L layers, K sequences, T tokens, O outputs, I inputs, R rows of a sequence, E places for its entries.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nmlab.trials.models.masked_weight import MaskedWeight
from nmlab.trials.models.sequences.deviations import LayerDeviations
from nmlab.trials.models.sequences.entries import Entries, Rows, rows_of


@dataclass(frozen=True, eq=False)
class Correction:
    """The changed entries of a layer's weight for K sequences, in slots; unused places have the value 0.

    Attributes:
        columns_KE: int64, the input of each entry.
        values_KE: float32, by how much the weight changes.
        rows_KR: int64, the outputs that differ, in descending order of their number of entries.
        widths: how many places each slot has; their sum is E, the first is R.
    """

    columns_KE: Tensor
    values_KE: Tensor
    rows_KR: Tensor
    widths: tuple[int, ...]

    def add_to(self, outputs_KTO: Tensor, inputs_KTI: Tensor) -> None:
        """Add what the changed entries contribute, summed in float32, to ``outputs``."""
        if not self.widths:
            return
        tokens = inputs_KTI.shape[1]
        columns_KTE = self.columns_KE[:, None, :].expand(-1, tokens, -1)
        terms_KTE = inputs_KTI.gather(2, columns_KTE).float().mul_(self.values_KE[:, None, :])
        first_KTR, *others = torch.split(terms_KTE, list(self.widths), dim=2)
        for terms in others:
            first_KTR[:, :, : terms.shape[2]].add_(terms)
        rows_KTR = self.rows_KR[:, None, :].expand(-1, tokens, -1)
        outputs_KTO.scatter_add_(2, rows_KTR, first_KTR.to(outputs_KTO.dtype))


def corrections_of(layers: Sequence[tuple[MaskedWeight, LayerDeviations]]) -> list[Correction]:
    """Return the correction of every layer from the masks that are applied to those of K sequences.

    The changes of weights are exact. All layers are computed at once: a device waits for the host a few times in all.
    """
    sequences = layers[0][1].sequences
    entries = Entries.of(layers)
    rows = rows_of(entries, sequences=sequences)
    widths_LS = _widths(entries, rows, layers=len(layers))
    offsets_LS = widths_LS.cumsum(1) - widths_LS
    place_e = offsets_LS[entries.layer_e, rows.slot_e] + rows.rank_u[rows.row_e]
    sizes = [tuple(width for width in widths if width) for widths in widths_LS.tolist()]
    places = _Table(entries.layer_e, entries.sequence_e, place_e, sequences, [sum(each) for each in sizes])
    first_e = rows.start_u
    of_rows = entries.layer_e[first_e], entries.sequence_e[first_e], rows.rank_u
    ranks = _Table(*of_rows, sequences, [each[0] if each else 0 for each in sizes])
    columns, values = places.filled(entries.column_e), places.filled(entries.value_e)
    return [
        Correction(*each) for each in zip(columns, values, ranks.filled(entries.row_e[first_e]), sizes, strict=True)
    ]


def _widths(entries: Entries, rows: Rows, *, layers: int) -> Tensor:
    """Return how many places each slot of each layer needs, int64 [L, slots]: one for each row of any sequence."""
    slots = int(rows.slot_e.max()) + 1 if len(rows.slot_e) else 0
    widths_LS = entries.layer_e.new_zeros(layers * slots)
    wanted_e = rows.rank_u[rows.row_e] + 1
    return widths_LS.scatter_reduce_(0, entries.layer_e * slots + rows.slot_e, wanted_e, "amax").view(layers, slots)


@dataclass(frozen=True, eq=False)
class _Table:
    """Where values belong in one table [sequences, width] for each layer: the layer, sequence and place of each."""

    layer: Tensor
    sequence: Tensor
    place: Tensor
    sequences: int
    width_of_layers: Sequence[int]

    def filled(self, values: Tensor) -> list[Tensor]:
        """Return the tables, 0 where there is no value."""
        sizes = [self.sequences * width for width in self.width_of_layers]
        width_L = torch.tensor(self.width_of_layers, device=values.device)
        start_L = (width_L.cumsum(0) - width_L) * self.sequences
        at = start_L[self.layer] + self.sequence * width_L[self.layer] + self.place
        flat = values.new_zeros(sum(sizes)).index_copy_(0, at, values)
        return [
            part.view(self.sequences, -1) if len(part) else part.view(self.sequences, 0)
            for part in torch.split(flat, sizes)
        ]
